// The portal's line in the viewer. The stream is also how the gateway knows that somebody still looks.
"use strict";
(() => {
  const uids = new URLSearchParams(location.search).getAll("StudyInstanceUIDs").join(",");
  if (!location.pathname.startsWith("/viewer") || !/^[0-9.,]+$/.test(uids)) return;

  const bar = document.createElement("div");
  bar.id = "region-bar";
  bar.setAttribute("role", "status");
  bar.setAttribute("aria-live", "polite");

  function element(name, text, type) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (type) made.className = type;
    return made;
  }

  function show(lines) {
    bar.replaceChildren(...lines.map((line) => {
      const row = element("p", "", line.progress || line.warning ? "" : "quiet");
      row.dataset.availability = line.availability;
      row.append(element("span", line.where));
      if (line.percent !== undefined) {
        const progress = element("progress");
        progress.max = 100;
        progress.value = Number(line.percent);
        row.append(progress);
      }
      if (line.progress) row.append(element("span", line.progress, "progress-text"));
      if (line.warning) row.append(element("span", line.warning, "warn"));
      return row;
    }));
  }

  let failures = 0;
  function connect() {
    const source = new EventSource("/portal/viewing?study=" + encodeURIComponent(uids));
    source.addEventListener("state", (event) => {
      failures = 0;
      bar.classList.remove("lost");
      show(JSON.parse(event.data).lines);
    });
    source.onerror = () => {
      failures += 1;
      bar.classList.add("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, Math.min(30000, 1000 * failures));
    };
    addEventListener("pagehide", () => source.close(), { once: true });
  }
  addEventListener("DOMContentLoaded", () => { document.body.append(bar); connect(); });
})();
