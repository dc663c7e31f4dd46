// The portal's bar in the viewer: what the pixels are, whether they are all here, where they lie, how they come.
// The stream is also how the gateway knows that somebody still looks.
"use strict";
(() => {
  const asked = new URLSearchParams(location.search);
  const uids = asked.getAll("StudyInstanceUIDs").join(",");
  if (!location.pathname.startsWith("/viewer") || !/^[0-9.,]+$/.test(uids)) return;

  const AGAIN_MS = 2500;
  const reading = window.regionReading = { uids, asked, texts: {}, facts: new Map(), lines: [], redraw: [] };

  reading.element = (name, text, type, more = {}) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (type) made.className = type;
    for (const [key, value] of Object.entries(more)) made.setAttribute(key, value);
    return made;
  };
  const { element } = reading;

  const bar = element("section", "", "", { id: "region-bar" });
  const studies = element("div", "", "studies", { role: "status", "aria-live": "polite" });
  const note = element("span", "", "note", { role: "alert" });
  bar.append(studies, note);
  reading.bar = bar;
  reading.tell = (text) => {
    note.textContent = text;
    clearTimeout(note.timer);
    note.timer = setTimeout(() => { note.textContent = ""; }, 8000);
  };

  function chip({ kind, level, text, value }) {
    const made = element("span", text, `chip ${level}`, { "data-chip": kind });
    if (value) made.dataset.value = value;
    return made;
  }

  function row(line) {
    const facts = reading.facts.get(line.key);
    const made = element("button", "", "study", { type: "button", "aria-haspopup": "dialog", "data-key": line.key });
    made.dataset.availability = line.availability;
    made.title = reading.texts.details || "";
    if (facts && reading.lines.length > 1) made.append(element("b", facts.title.slice(0, 13)));
    if (facts) made.append(...facts.chips.map(chip));
    else made.append(chip({ kind: "place", level: "plain", text: line.where }));
    if (line.percent !== undefined) {
      const progress = element("progress", "", "", { max: "100", "aria-label": line.progress });
      progress.value = Number(line.percent);
      made.append(progress);
    }
    if (line.progress) made.append(element("span", line.progress, "progress-text"));
    if (line.warning) made.append(element("span", line.warning, "warn"));
    made.addEventListener("click", () => reading.showDetails(line.key));
    return made;
  }

  function draw() {
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : "";
    studies.replaceChildren(...reading.lines.map(row));
    if (focused) studies.querySelectorAll("button").forEach((one) => { if (one.dataset.key === focused) one.focus(); });
    reading.redraw.forEach((again) => again());
  }

  let asking = null;
  async function ask() {
    try {
      const answer = await fetch("/portal/reading/facts?study=" + encodeURIComponent(uids));
      if (!answer.ok) throw new Error(String(answer.status));
      const told = await answer.json();
      reading.facts = new Map(told.studies.map((one) => [one.key, one]));
      if (!Object.keys(reading.texts).length) {
        reading.texts = told.texts;
        bar.setAttribute("aria-label", told.texts.bar);
        if (told.watermark) window.regionWatermark(told.watermark, viewports);
        reading.begin();
      }
      draw();
    } catch {
      reading.tell(reading.texts.unknown || "");
    }
  }

  // Facts follow the stream, but not faster than a person reads.
  function askSoon() {
    if (asking) { asking.again = true; return; }
    asking = { again: false };
    ask().finally(() => setTimeout(() => {
      const { again } = asking;
      asking = null;
      if (again) askSoon();
    }, AGAIN_MS));
  }
  reading.askAgain = askSoon;

  function viewports() {
    const grid = document.querySelector('[data-cy="viewport-grid"]');
    const where = grid ? grid.getBoundingClientRect() : null;
    return where && where.width > 50 && where.height > 50 ? where : null;
  }

  let failures = 0;
  function connect() {
    const source = new EventSource("/portal/viewing?study=" + encodeURIComponent(uids));
    source.addEventListener("state", (event) => {
      failures = 0;
      bar.classList.remove("lost");
      reading.lines = JSON.parse(event.data).lines;
      draw();
      askSoon();
    });
    source.onerror = () => {
      failures += 1;
      bar.classList.add("lost");
      if (failures > 1 && reading.texts.lost) reading.tell(reading.texts.lost);
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, Math.min(30000, 1000 * failures));
    };
    addEventListener("pagehide", () => source.close(), { once: true });
  }
  addEventListener("DOMContentLoaded", () => { document.body.append(bar); connect(); });
})();
