// The application form: kept as one types, required fields by urgency, codes, experts, key images, files.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("application");
  if (!form) return;
  const $ = (selector, root = form) => root.querySelector(selector);
  const $$ = (selector, root = form) => [...root.querySelectorAll(selector)];
  const csrf = form.elements.csrf.value;
  const later = (act, wait) => { let timer; return (...args) => { clearTimeout(timer); timer = setTimeout(() => act(...args), wait); }; };
  const send = (address, options = {}) =>
    fetch(address, { ...options, headers: { "X-CSRF-Token": csrf, "HX-Request": "true", ...options.headers }, signal: AbortSignal.timeout(60000) });
  const body = () => new URLSearchParams(new FormData(form));

  // Keeping: one save at a time, the newest text always last; after a loss it tries again by itself.
  const told = $("#saved");
  let typed = 0, kept = 0, saving = null, stopped = false, retry = 0;
  let first = null; // what a new draft is made from: repeated as it was until an answer comes, so that it is made once

  function tell(kind, more = "") {
    told.textContent = told.dataset[kind] + more;
    told.dataset.state = kind;
  }

  function changed() {
    typed += 1;
    if (!stopped) { tell("saving"); soon(); }
  }

  async function save() {
    while (saving) await saving;
    if (stopped || kept === typed) return;
    saving = keep(typed);
    await saving;
    if (kept !== typed && !retry) soon();
  }

  async function keep(mark) {
    if (!form.elements.draft.value) {
      first = first || { mark, body: body() };
      mark = first.mark;
    }
    try {
      const answer = await send(form.dataset.save, { method: "POST", body: form.elements.draft.value ? body() : first.body });
      if (answer.status === 409) { stopped = true; $("#conflict").hidden = false; tell("stopped"); return; }
      if (answer.status >= 500 || answer.redirected) throw new Error(String(answer.status));
      if (!answer.ok) { kept = mark; first = null; tell("refused"); return; }
      const said = await answer.json();
      form.elements.draft.value = said.id;
      form.elements.revision.value = said.revision;
      kept = mark;
      tell("saved", " " + said.saved_at);
      lacks(said.missing);
      if (!location.search.includes("draft=")) history.replaceState(null, "", "/portal/apply?draft=" + said.id);
    } catch {
      tell("lost");
      clearTimeout(retry);
      retry = setTimeout(() => { retry = 0; save(); }, 5000);
    } finally {
      saving = null;
    }
  }
  const soon = later(save, 800);

  form.addEventListener("input", (event) => { if (event.target.name) changed(); });
  form.addEventListener("change", (event) => {
    if (event.target.name === "urgency" || event.target.name === "target_kind") arrange();
    if (event.target.type === "checkbox" || event.target.tagName === "SELECT") changed();
    route();
  });
  addEventListener("online", () => { clearTimeout(retry); retry = 0; save(); });
  addEventListener("beforeunload", (event) => { if (kept !== typed && !submitting) event.preventDefault(); });
  $("[data-reload]").addEventListener("click", () => { kept = typed; location.assign("/portal/apply?draft=" + form.elements.draft.value); });
  let submitting = false;
  form.addEventListener("submit", async (event) => {
    if (!saving) { submitting = stopped = true; return; }
    event.preventDefault();
    await saving;
    $$("button").forEach((button) => { button.disabled = false; });
    form.requestSubmit();
  });

  // What is still missing, and which fields this urgency and this target need.
  function lacks(names) {
    const words = document.getElementById("words").content;
    const items = names.map((name) => words.querySelector(`[data-missing="${name}"]`)).filter(Boolean).map((item) => item.cloneNode(true));
    $("#lacks ul").replaceChildren(...items);
    $("#lacks").hidden = items.length === 0;
    $("#complete").hidden = items.length !== 0;
  }

  const NEEDS = { hospital: ["consultant_hospital"], department: ["consultant_hospital", "department"], expert: ["consultant_hospital", "nominee"], auto: [] };
  function arrange() {
    const urgency = $('[name="urgency"]:checked'), kind = ($('[name="target_kind"]:checked') || $('[name="target_kind"]')).value;
    const needed = new Set([...urgency.dataset.required.split(" "), ...NEEDS[kind]]);
    $$("[data-need]").forEach((mark) => { mark.hidden = !needed.has(mark.dataset.need); });
    $$("[data-for]").forEach((part) => { part.hidden = !part.dataset.for.split(" ").includes(kind); });
  }
  arrange();

  const route = later(async () => {
    const shown = $("#route");
    if (!shown || shown.hidden) return;
    try {
      const answer = await send(shown.dataset.route, { method: "POST", body: body() });
      if (answer.ok) shown.innerHTML = await answer.text();
    } catch { /* the next change asks again */ }
  }, 500);
  route();

  // Lists of lines: diagnoses, examination items, questions.
  function token(name, value, text, code = "") {
    const item = document.createElement("li");
    const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    button.dataset.remove = "";
    button.setAttribute("aria-label", document.getElementById("remove-word").content.textContent);
    item.append(field);
    if (code) item.append(Object.assign(document.createElement("b"), { className: "mono", textContent: code }), " ");
    item.append(text, button);
    return item;
  }

  function add(input, value, text, code) {
    const box = input.closest("[data-tokens]"), name = box.dataset.tokens;
    const known = $$(`[name="${name}"]`, box).some((field) => field.value === value);
    if (!known) $(".chosen", box).append(token(name, value, text, code));
    input.value = "";
    changed();
  }

  form.addEventListener("keydown", (event) => {
    const input = event.target;
    if (event.key !== "Enter" || event.isComposing || input.tagName !== "INPUT") return;
    event.preventDefault();
    if (input.dataset.adds !== undefined && input.value.trim()) add(input, input.value.trim(), input.value.trim());
  });
  $$("[data-adds]").forEach((input) => input.addEventListener("blur", () => { if (input.value.trim()) add(input, input.value.trim(), input.value.trim()); }));

  form.addEventListener("click", (event) => {
    const remove = event.target.closest("[data-remove]");
    if (remove) { remove.parentElement.remove(); marks(); changed(); }
  });

  // ICD-10: suggestions while one types; arrows, Enter, Escape.
  const diagnosis = $("#diagnosis-input"), suggestions = $("#diagnosis-list");
  let asked = 0, active = -1;
  function close() { suggestions.hidden = true; active = -1; diagnosis.setAttribute("aria-expanded", "false"); diagnosis.removeAttribute("aria-activedescendant"); }
  function point(step) {
    const options = $$("li", suggestions);
    if (!options.length) return;
    active = (active + step + options.length) % options.length;
    options.forEach((option, number) => option.setAttribute("aria-selected", String(number === active)));
    diagnosis.setAttribute("aria-activedescendant", options[active].id);
    options[active].scrollIntoView({ block: "nearest" });
  }
  function choose(picked) {
    const typed = diagnosis.value.trim().toUpperCase();
    const option = picked || $$("li", suggestions).find((one) => one.dataset.code.toUpperCase() === typed);
    add(diagnosis, option ? option.dataset.value : diagnosis.value.trim(), option ? option.dataset.text : diagnosis.value.trim(), option ? option.dataset.code : "");
    close();
  }
  diagnosis.addEventListener("input", later(async () => {
    const words = diagnosis.value.trim(), mine = ++asked;
    if (!words) { close(); return; }
    let found = [];
    try {
      const answer = await send(`${diagnosis.dataset.icd10}?q=${encodeURIComponent(words)}`);
      if (answer.ok) found = await answer.json();
    } catch { /* a diagnosis without a code can always be typed */ }
    if (mine !== asked) return;
    suggestions.replaceChildren(...found.map((one, number) => {
      const text = diagnosis.dataset.lang === "zh" ? one.zh || one.en : one.en;
      const item = Object.assign(document.createElement("li"), { id: "code-" + number });
      item.setAttribute("role", "option");
      Object.assign(item.dataset, { code: one.code, text, value: `${one.code}|${text}` });
      const other = diagnosis.dataset.lang === "zh" ? (one.zh ? one.en : "") : one.zh;
      item.append(Object.assign(document.createElement("b"), { className: "mono", textContent: one.code }), " ", text, " ", Object.assign(document.createElement("small"), { textContent: other }));
      return item;
    }));
    suggestions.hidden = found.length === 0;
    diagnosis.setAttribute("aria-expanded", String(found.length > 0));
    active = -1;
  }, 150));
  diagnosis.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") { event.preventDefault(); point(1); }
    if (event.key === "ArrowUp") { event.preventDefault(); point(-1); }
    if (event.key === "Escape") close();
    if (event.key === "Enter" && diagnosis.value.trim()) choose($$("li", suggestions)[active]);
  });
  suggestions.addEventListener("mousedown", (event) => { event.preventDefault(); const option = event.target.closest("li"); if (option) choose(option); });
  diagnosis.addEventListener("blur", () => { if (diagnosis.value.trim()) choose(); close(); });

  // A named expert.
  const expert = $("#expert-input"); // null: the target of a returned case stays as it was
  const find = later(async () => {
    const hospital = form.elements.consultant_hospital.value;
    try {
      const answer = await send(`${expert.dataset.experts}?q=${encodeURIComponent(expert.value.trim())}&hospital=${encodeURIComponent(hospital)}`);
      if (answer.ok) $("#experts").innerHTML = await answer.text();
    } catch { /* asked again with the next letter */ }
  }, 250);
  if (expert) {
    expert.addEventListener("input", find);
    expert.addEventListener("focus", find);
  }
  if (expert) $("#experts").addEventListener("click", (event) => {
    const one = event.target.closest("[data-expert]");
    if (!one) return;
    form.elements.nominee.value = one.dataset.expert;
    form.elements.consultant_hospital.value = one.dataset.hospital;
    $("[data-nominee-name]").textContent = one.dataset.name;
    $(".named").hidden = false;
    $("#experts").replaceChildren();
    expert.value = "";
    changed();
  });

  // Key images: a study's series, a series' images.
  function marks() {
    const chosen = new Set($$('[name="key_image"]').map((field) => field.value));
    $$("[data-key]").forEach((button) => button.setAttribute("aria-pressed", String(chosen.has(button.dataset.key))));
  }
  async function open(picker, series = "") {
    const answer = await send(`/portal/apply/images?ref=${encodeURIComponent(picker.dataset.picker)}&series=${series}`);
    if (!answer.ok) return;
    picker.innerHTML = await answer.text();
    marks();
  }
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-images]"), series = event.target.closest("[data-series]"), image = event.target.closest("[data-key]");
    if (button) {
      const row = button.closest("tr").nextElementSibling, picker = $("[data-picker]", row);
      row.hidden = !row.hidden;
      button.setAttribute("aria-expanded", String(!row.hidden));
      if (!row.hidden && !picker.childElementCount) open(picker).catch(() => {});
    }
    if (series) open(series.closest("[data-picker]"), series.dataset.series).catch(() => {});
    if (image) {
      const known = $$('[name="key_image"]').find((field) => field.value === image.dataset.key);
      if (known) known.parentElement.remove();
      else {
        const key = Object.assign(document.createElement("span"), { className: "key" });
        const picture = $("img", image).cloneNode();
        const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
        remove.dataset.remove = "";
        remove.setAttribute("aria-label", document.getElementById("remove-word").content.textContent);
        key.append(Object.assign(document.createElement("input"), { type: "hidden", name: "key_image", value: image.dataset.key }), picture, remove);
        $("#keys").append(key);
        const study = image.closest("tr.images").previousElementSibling.querySelector('[name="ref"]');
        study.checked = true;
      }
      marks();
      changed();
    }
  });

  // Files: they need a draft to lie at.
  const files = $("[data-files]"), attached = $("#attached"), refused = $("[data-file-problem]");
  async function draft() {
    if (!form.elements.draft.value) { typed += 1; await save(); }
    return form.elements.draft.value;
  }
  async function upload(list) {
    refused.hidden = true;
    const id = await draft();
    for (const file of list) {
      if (!id) { refused.hidden = false; return; }
      const kind = $("[data-kind]").value === "document" && file.type.startsWith("image/") ? "picture" : $("[data-kind]").value;
      try {
        const answer = await send(`/portal/apply/${id}/files?kind=${kind}`, { method: "POST", body: file, headers: { "Content-Type": file.type || "application/octet-stream", "X-File-Name": encodeURIComponent(file.name) } });
        if (answer.ok) attached.innerHTML = await answer.text(); else refused.hidden = false;
      } catch { refused.hidden = false; }
    }
  }
  $("[data-file]").addEventListener("change", async (event) => { await upload([...event.target.files]); event.target.value = ""; });
  const drop = $("[data-drop]");
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); upload([...event.dataTransfer.files]); });
  files.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-detach]");
    if (!button) return;
    const answer = await send(`/portal/apply/${form.elements.draft.value}/files/${button.dataset.detach}/remove`, { method: "POST" });
    if (answer.ok) attached.innerHTML = await answer.text();
  });

  // What was typed before this script ran counts too.
  const early = $$("textarea, input:not([type=hidden], [type=checkbox], [type=radio], [type=file])").filter((field) => field.value !== field.defaultValue);
  early.forEach((field) => field.dispatchEvent(new Event("input", { bubbles: true })));
  form.dataset.ready = "yes";
});
