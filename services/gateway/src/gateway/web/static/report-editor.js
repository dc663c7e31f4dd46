// The report editor: saves as one writes, inserts images of the viewer, templates and phrases. Nothing typed is lost.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("report-form");
  const told = document.getElementById("saved");
  const note = document.getElementById("image-note");
  const list = form.querySelector("[data-images-list]");
  const field = (name) => form.elements[name];
  const text = (name, values = {}) => form.dataset["t" + name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const holders = new Map(JSON.parse(form.dataset.studies).map((one) => [one.study_uid, one.holder]));
  const templates = JSON.parse(form.dataset.templates);
  let phrases = JSON.parse(form.dataset.phrases);
  let images = JSON.parse(form.dataset.images);
  let revision = Number(form.dataset.revision);
  let template = "";
  let changed = 0;
  let kept = 0;
  let timer = 0;
  let saving = null;
  let stopped = "locked" in form.dataset;

  const WAIT_MS = 900, AGAIN_MS = 4000;
  const TEXTS = ["findings", "impression", "recommendations", "critical_text"];

  function say(words, level = "") {
    told.textContent = words;
    told.dataset.level = level;
  }

  function written() {
    const out = { positive: field("positive").checked, critical: field("critical").checked, key_images: images, template };
    for (const name of TEXTS) out[name] = field(name).value;
    return out;
  }

  async function send() {
    const at = changed;
    say(text("Saving"));
    let answer;
    try {
      answer = await fetch(form.dataset.save, {
        method: "PUT",
        headers: { "Content-Type": "application/json", "X-CSRF-Token": form.dataset.csrf },
        body: JSON.stringify({ revision, text: written() }),
      });
    } catch {
      say(text("Lost"), "bad");
      later(AGAIN_MS);
      return false;
    }
    if (answer.status === 409) { stopped = true; say(text("Conflict"), "bad"); return false; }
    if (answer.status >= 500 || answer.status === 429) { say(text("Lost"), "bad"); later(AGAIN_MS); return false; }
    if (!answer.ok) { say(text("Refused"), "bad"); return false; }
    const state = await answer.json();
    revision = state.revision;
    kept = at;
    document.querySelectorAll("[data-case-version]").forEach((one) => { one.value = state.version; });
    const badge = document.querySelector('.editor-head [data-testid="consult-state"]');
    Object.assign(badge, { className: "badge " + state.state, textContent: state.state_word });
    badge.dataset.state = state.state;
    say(text("Saved", { at: state.saved }), "good");
    if (changed > kept) later(WAIT_MS);
    return true;
  }

  function save() {
    clearTimeout(timer);
    if (stopped) return Promise.resolve(false);
    if (!saving) saving = send().finally(() => { saving = null; });
    return saving;
  }
  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(save, ms);
  }
  function touched() {
    changed += 1;
    if (!stopped) later(WAIT_MS);
  }
  async function flush() {
    for (let tries = 0; changed > kept && tries < 3; tries += 1) if (!(await save())) break;
    return changed === kept;
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); touched(); save(); });
  form.addEventListener("input", (event) => {
    if (!event.target.name) return;
    if (event.target.name === "critical") document.getElementById("critical-text").hidden = !field("critical").checked;
    if (TEXTS.includes(event.target.name)) expand(event.target);
    touched();
  });
  addEventListener("online", () => { if (changed > kept) save(); });
  addEventListener("beforeunload", (event) => { if (changed > kept) event.preventDefault(); });

  // Somebody else moved the case: what is typed stays, and the page says so.
  async function look() {
    const answer = await fetch(`/portal/consults/${form.dataset.case}/case`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer || !answer.ok) return;
    const found = /data-testid="consult-state" data-state="([\w-]+)"/.exec(await answer.text());
    const expected = [form.dataset.state, "drafted"];
    if (found && !expected.includes(found[1])) document.getElementById("stale").hidden = false;
  }
  document.body.addEventListener(`portal:consult-${form.dataset.case}`, look);

  // What is signed is what is saved.
  document.querySelectorAll("form[data-after-save]").forEach((one) => one.addEventListener("submit", async (event) => {
    if ("needsDraft" in one.dataset && !revision && !one.dataset.ready) changed += 1;
    if (one.dataset.ready || stopped || changed === kept) return;
    event.preventDefault();
    if (!(await flush())) return;
    one.dataset.ready = "yes";
    one.requestSubmit();
  }));

  // Images
  function draw() {
    list.replaceChildren(...images.map((image, at) => {
      const row = document.createElement("li");
      const picture = document.createElement("img");
      Object.assign(picture, { width: 96, height: 96, alt: text("Image", { number: at + 1 }), loading: "lazy" });
      picture.dataset.thumbnail = "";
      picture.src = `/dicomweb/hospitals/${image.holder}/studies/${image.study_uid}/series/${image.series_uid}/instances/${image.instance_uid}/frames/${image.frame}/thumbnail?viewport=192,192`;
      const link = document.createElement("a");
      link.href = `/viewer?StudyInstanceUIDs=${[...new Set([image.study_uid, ...holders.keys()])].join(",")}&initialSeriesInstanceUID=${image.series_uid}&initialSOPInstanceUID=${image.instance_uid}&lng=${form.dataset.lang}`;
      link.target = "viewer";
      link.dataset.showImage = [image.study_uid, image.series_uid, image.instance_uid, image.frame].join(" ");
      link.append(picture);
      const words = document.createElement("input");
      Object.assign(words, { type: "text", maxLength: 200, value: image.note || "", placeholder: text("Note") });
      words.setAttribute("aria-label", `${text("Image", { number: at + 1 })} ${text("Note")}`);
      words.addEventListener("input", () => { images[at] = { ...images[at], note: words.value }; touched(); });
      const gone = document.createElement("button");
      Object.assign(gone, { type: "button", textContent: "×", className: "quiet", title: text("Remove") });
      gone.setAttribute("aria-label", `${text("Remove")} ${text("Image", { number: at + 1 })}`);
      gone.addEventListener("click", () => { images = images.filter((_, other) => other !== at); draw(); touched(); });
      row.append(link, words, gone);
      return row;
    }));
  }
  function insert(image) {
    if (stopped) return false;
    if (!image || !holders.has(image.study)) { note.textContent = text("NoImage"); return false; }
    note.textContent = "";
    const one = { study_uid: image.study, holder: holders.get(image.study), series_uid: image.series, instance_uid: image.instance, frame: image.frame, note: "" };
    const known = images.some((other) => other.instance_uid === one.instance_uid && other.frame === one.frame);
    if (!known) { images = [...images, one]; draw(); touched(); }
    return true;
  }
  const insertCurrent = () => insert(window.regionCurrentImage());
  form.querySelector("[data-insert-image]").addEventListener("click", insertCurrent);
  if (window.BroadcastChannel) {
    const channel = new BroadcastChannel("region-report");
    const here = () => channel.postMessage({ kind: "editor", studies: [...holders.keys()] });
    channel.onmessage = (event) => {
      if (event.data.kind === "viewer") here();
      if (event.data.kind === "image" && insert(event.data.image)) channel.postMessage({ kind: "taken" });
    };
    here();
  }

  // Templates
  const chooser = form.querySelector("[data-template]");
  const title = (one) => one[form.dataset.lang.startsWith("zh") ? "name_zh" : "name_en"] || one.name || one.title || one.id;
  templates.forEach((one, at) => chooser.append(new Option(title(one), String(at))));
  chooser.addEventListener("change", () => {
    const one = templates[Number(chooser.value)];
    if (chooser.value === "" || !one) return;
    const source = one.text || one;
    const lost = TEXTS.some((name) => field(name).value.trim() && source[name] !== undefined && field(name).value !== source[name]);
    if (lost && !confirm(text("Replace"))) { chooser.value = ""; return; }
    for (const name of TEXTS) if (typeof source[name] === "string") field(name).value = source[name];
    field("positive").checked = Boolean(one.positive || source.positive);
    template = String(one.id || one.name || "");
    touched();
  });

  // Phrases: chosen, or `;short` and a blank.
  const short = (one) => one.short || one.name || "";
  const picker = form.querySelector("[data-phrase]");
  let last = field("findings");
  form.addEventListener("focusin", (event) => { if (event.target.matches("textarea")) last = event.target; });
  function offer() {
    picker.replaceChildren(new Option("–", ""), ...phrases.map((one, at) => new Option(`${short(one)}  ${one.text.slice(0, 24)}`, String(at))));
  }
  function put(target, words, from = target.selectionStart) {
    target.setRangeText(words, from, target.selectionEnd, "end");
    touched();
  }
  function expand(target) {
    if (!target.matches("textarea")) return;
    const before = target.value.slice(0, target.selectionStart);
    const found = /;([^\s;]{1,20})[ \n]$/.exec(before);
    const one = found && phrases.find((other) => short(other) === found[1]);
    if (one) put(target, one.text, before.length - found[0].length);
  }
  picker.addEventListener("change", () => {
    const one = phrases[Number(picker.value)];
    if (picker.value !== "" && one) { last.focus(); put(last, one.text); }
    picker.value = "";
  });
  form.querySelector("[data-add-phrase]").addEventListener("click", async (event) => {
    const words = last.value.slice(last.selectionStart, last.selectionEnd).trim();
    const name = words && prompt(event.target.title, words.slice(0, 4));
    if (!name) return;
    const next = [...phrases.filter((one) => short(one) !== name.trim()), { short: name.trim(), text: words }];
    const answer = await fetch(form.dataset.phrasesSave, {
      method: "PUT",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": form.dataset.csrf },
      body: JSON.stringify({ phrases: next }),
    }).catch(() => null);
    if (!answer || !answer.ok) { say(text(answer ? "Refused" : "Lost"), "bad"); return; }
    phrases = next;
    offer();
  });

  addEventListener("keydown", (event) => {
    if (!event.altKey || event.ctrlKey || event.metaKey) return;
    const places = { Digit1: "findings", Digit2: "impression", Digit3: "recommendations" };
    if (event.code === "KeyI") insertCurrent();
    else if (event.code === "KeyS") { touched(); save(); }
    else if (places[event.code]) field(places[event.code]).focus();
    else return;
    event.preventDefault();
  });
  draw();
  offer();
});
