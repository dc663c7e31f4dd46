// Who looks, and when, faintly across the images; nothing of it takes the pointer, and it comes back when it is removed.
"use strict";
window.regionWatermark = (mark, area) => {
  const overlay = document.createElement("div");
  overlay.id = "region-watermark";
  overlay.setAttribute("aria-hidden", "true");
  const tile = document.createElement("canvas");
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: mark.zone, dateStyle: "short", timeStyle: "short" });
  let shown = "";

  function draw() {
    const text = mark.text.replace("{time}", clock.format(new Date()));
    if (text === shown) return;
    shown = text;
    overlay.dataset.text = text;
    const pen = tile.getContext("2d");
    const font = `${innerWidth > 2600 ? 24 : 15}px system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif`;
    pen.font = font;
    const width = Math.ceil(pen.measureText(text).width) + 90;
    tile.width = width;
    tile.height = Math.max(190, Math.ceil(width * 0.5));
    pen.font = font;
    pen.translate(tile.width / 2, tile.height / 2);
    pen.rotate(-Math.PI / 8);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 2;
    pen.strokeStyle = "#000";
    pen.fillStyle = "#fff";
    pen.strokeText(text, 0, 0);
    pen.fillText(text, 0, 0);
    overlay.style.backgroundImage = `url(${tile.toDataURL()})`;
  }

  function place() {
    const where = area();
    overlay.hidden = !where;
    if (where) {
      for (const [side, value] of Object.entries({ left: where.left, top: where.top, width: where.width, height: where.height })) {
        const size = `${Math.round(value)}px`;
        if (overlay.style[side] !== size) overlay.style[side] = size;
      }
    }
    if (!overlay.isConnected) document.body.append(overlay);
    draw();
  }

  overlay.style.opacity = String(mark.opacity);
  place();
  addEventListener("resize", place);
  setInterval(place, 1000);
};
