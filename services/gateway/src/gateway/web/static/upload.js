// Uploads in batches: two at a time, each can be repeated, since the region knows what it has. Nothing is lost by a
// pause, a broken line or a second try; each file's fate is shown.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const page = document.querySelector("[data-upload]");
  if (!page) return;
  const texts = JSON.parse(page.dataset.texts);
  const maxBytes = Number(page.dataset.maxBytes);
  const find = (name) => page.querySelector(`[data-${name}]`);
  const BATCH_BYTES = 16e6, BATCH_FILES = 100, WORKERS = 2, HASHED_BYTES = 128e6, DICOMDIR = "1.2.840.10008.1.3.10";
  const WAITS = [1000, 4000, 10000];
  const SHOWN = 1000;
  const PROBLEMS = new Set(["refused", "failed", "skipped"]);

  const all = [];             // every file, in the order it was found
  const queue = [];           // those that wait
  const studies = new Map();  // study uid -> instances
  let finding = 0, working = 0, doneBytes = 0, totalBytes = 0, began = 0, beganBytes = 0;
  let paused = false, stopped = "";
  let wake = () => {};
  let gate = Promise.resolve();
  const sending = new Map();  // request -> bytes sent so far

  const say = (key, values = {}) => Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), texts[key]);
  const size = (bytes) => {
    const [value, unit] = bytes >= 1e9 ? [bytes / 1e9, "GB"] : bytes >= 1e6 ? [bytes / 1e6, "MB"] : [bytes / 1e3, "kB"];
    return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
  };

  // ---- what was chosen
  const drop = find("drop");
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); take(UploadRead.fromDrop(event.dataTransfer)); });
  for (const input of [find("folder"), find("files")]) input.addEventListener("change", async () => {
    await take(UploadRead.fromInput(input));
    input.value = "";
  });

  async function take(candidates) {
    finding += 1;
    find("going").hidden = find("results").hidden = false;
    if (!began) { began = performance.now(); beganBytes = 0; }
    let count = 0;
    try {
      for await (const one of candidates) {
        count += 1;
        const file = { ...one, state: "waiting", why: "" };
        all.push(file);
        totalBytes += file.size;
        if (file.refused) settle(file, "skipped", texts[file.refused]);
        else if (file.size > maxBytes) settle(file, "skipped", texts["too-large"]);
        else { queue.push(file); start(); }
        if (count % 200 === 0) show();
      }
    } finally {
      finding -= 1;
      show();
      finish();
    }
  }

  // ---- batches
  function start() {
    while (working < WORKERS && queue.length && !stopped) { working += 1; work(); }
  }

  async function work() {
    try {
      while (queue.length && !stopped) {
        await gate;
        await send(await nextBatch());
      }
    } finally {
      working -= 1;
      finish();
    }
  }

  async function nextBatch() {
    const batch = [];
    let bytes = 0;
    while (queue.length && batch.length < BATCH_FILES && (!batch.length || bytes + queue[0].size <= BATCH_BYTES)) {
      const file = queue.shift();
      try {
        file.blob = await file.bytes();
        const meta = await UploadRead.meta(file.blob);
        if (!meta) { settle(file, "skipped", texts["not-dicom"]); continue; }
        if (meta.sopClass === DICOMDIR) { settle(file, "skipped", texts.dicomdir); continue; }
        file.sop = meta.sop;
        file.digest = await digest(file.blob);
      } catch { settle(file, "skipped", texts[file.name.toLowerCase().includes(".zip/") ? "zip.bad" : "unreadable"]); continue; }
      bytes += file.size;
      batch.push(file);
    }
    show();
    return batch;
  }

  async function digest(blob) {
    if (!crypto.subtle || blob.size > HASHED_BYTES) return "";
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
    return [...sum].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function send(batch) {
    let left = batch;
    for (let attempt = 0; left.length; attempt += 1) {
      await gate;
      if (stopped) { left.forEach((file) => settle(file, "failed", stopped)); return; }
      try {
        left = await withoutKnown(left);
        if (left.length) judge(left, await store(left));
        return;
      } catch (problem) {
        if (problem.paused) { attempt -= 1; continue; }
        if (problem.status === 401 || problem.status === 403) { stop(texts[problem.status === 401 ? "signed-out" : "forbidden"]); continue; }
        const passing = !problem.status || problem.status >= 500 || problem.status === 429;
        if (!passing || attempt >= WAITS.length) {
          const why = problem.status === 507 ? texts["no-room"] : problem.status === 413 ? texts["too-large"] : texts.away;
          left.forEach((file) => settle(file, "failed", why));
          return;
        }
        tell(say("again"));
        await new Promise((resolve) => { setTimeout(resolve, WAITS[attempt]); });
      }
    }
  }

  async function withoutKnown(batch) {
    const asked = batch.filter((file) => file.digest && file.sop).map((file) => [file.sop, file.digest]);
    if (!asked.length) return batch;
    const answer = await fetch("/portal/uploads/known", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": page.dataset.csrf },
      body: JSON.stringify({ instances: asked }),
    });
    if (!answer.ok) throw { status: answer.status };
    const known = new Set((await answer.json()).known);
    batch.filter((file) => known.has(file.sop)).forEach((file) => settle(file, "duplicate", ""));
    return batch.filter((file) => !known.has(file.sop));
  }

  function store(batch) {
    const boundary = `upload-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const head = `--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`;
    const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
    const body = new Blob([...batch.flatMap((file) => [head, file.blob, "\r\n"]), `--${boundary}--\r\n`]);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      sending.set(request, 0);
      request.open("POST", "/portal/uploads/batch");
      request.setRequestHeader("Content-Type", type);
      request.setRequestHeader("X-CSRF-Token", page.dataset.csrf);
      request.upload.onprogress = (event) => { sending.set(request, event.loaded); show(); };
      request.onloadend = () => {
        sending.delete(request);
        if (request.aborted) { reject({ paused: true }); return; }
        if (request.status !== 200) { reject({ status: request.status }); return; }
        try { resolve(JSON.parse(request.responseText)); } catch { reject({ status: 502 }); }
      };
      request.send(body);
    });
  }

  function judge(batch, answer) {
    const refused = new Map(answer.refused.filter((one) => one.sop).map((one) => [one.sop, one.text]));
    const unnamed = answer.refused.filter((one) => !one.sop).map((one) => one.text);
    for (const file of batch) {
      if (refused.has(file.sop)) settle(file, "refused", refused.get(file.sop));
      else if (file.sop in answer.stored) {
        const study = answer.stored[file.sop];
        if (study) studies.set(study, (studies.get(study) || 0) + 1);
        settle(file, "stored", "");
      } else settle(file, "refused", unnamed.shift() || texts.unreadable);
    }
  }

  // ---- what became of them
  function settle(file, state, why) {
    file.state = state;
    file.why = why;
    file.blob = null;
    doneBytes += file.size;
    row(file);
    show();
  }

  const rows = find("rows");
  function row(file) {
    if (!file.row) {
      if (rows.childElementCount >= SHOWN) { find("more").textContent = say("more", { count: all.length - SHOWN }); if (!PROBLEMS.has(file.state)) return; rows.lastElementChild.remove(); }
      file.row = document.createElement("tr");
      for (const part of ["name", "size", "state", "why"]) { const cell = document.createElement("td"); cell.className = part === "size" ? "num" : part; file.row.append(cell); }
    }
    const [name, bytes, state, why] = file.row.children;
    name.textContent = file.name;
    bytes.textContent = size(file.size);
    const badge = document.createElement("span");
    badge.className = `badge ${file.state}`;
    badge.textContent = texts[file.state];
    state.replaceChildren(badge);
    why.textContent = file.why;
    file.row.dataset.state = file.state;
    file.row.dataset.testid = "result";
    if (PROBLEMS.has(file.state)) rows.prepend(file.row); else rows.append(file.row);
  }

  function tell(text) { find("state").textContent = text; }

  let drawn = false;
  function show() {
    if (drawn) return;
    drawn = true;
    requestAnimationFrame(() => { drawn = false; draw(); });
  }

  function draw() {
    const counts = { stored: 0, duplicate: 0, refused: 0, failed: 0, skipped: 0, waiting: 0 };
    for (const file of all) counts[file.state] += 1;
    for (const [name, count] of Object.entries(counts)) page.querySelector(`[data-total=${name}]`).textContent = count;
    const moving = [...sending.values()].reduce((sum, bytes) => sum + bytes, 0);
    const done = Math.min(totalBytes, doneBytes + moving);
    find("bar").max = Math.max(totalBytes, 1);
    find("bar").value = done;
    find("retry").hidden = !counts.failed || busy();
    find("pause").hidden = !busy() || Boolean(stopped);
    if (stopped) { tell(stopped); return; }
    if (paused) { tell(say("paused", { done: size(done), total: size(totalBytes) })); return; }
    if (!busy()) return;
    const seconds = (performance.now() - began) / 1000;
    const speed = seconds > 1 ? (done - beganBytes) / seconds : 0;
    const left = speed > 0 ? (totalBytes - done) / speed : 0;
    const text = say("progress", { done: size(done), total: size(totalBytes), files: all.length - counts.waiting, count: all.length, speed: `${size(speed)}/s` });
    const rest = !left || finding ? "" : left > 90 ? say("left.minutes", { minutes: Math.ceil(left / 60) }) : say("left.seconds", { seconds: Math.ceil(left) });
    tell(finding ? `${text} · ${texts.reading}` : rest ? `${text} · ${rest}` : text);
  }

  const busy = () => finding > 0 || working > 0 || queue.length > 0;

  function finish() {
    show();
    if (busy() && !stopped) { start(); return; }
    if (!all.length) { tell(texts.nothing); return; }
    if (stopped) return;
    const problems = all.filter((file) => file.state === "refused" || file.state === "failed").length;
    const good = all.filter((file) => file.state === "stored" || file.state === "duplicate").length;
    tell(say(problems ? "done-some" : "done", { good, problems, count: all.length, total: size(totalBytes) }));
    page.dataset.finished = "yes";
    began = 0;
    if (all.some((file) => file.state === "stored")) showStudies(0);
  }

  async function showStudies(attempt) {
    find("found").hidden = false;
    const form = new URLSearchParams([["csrf", page.dataset.csrf], ...[...studies.keys()].map((uid) => ["study", uid])]);
    const answer = await fetch("/portal/uploads/studies", { method: "POST", body: form }).catch(() => null);
    if (answer && answer.ok) find("studies").innerHTML = await answer.text();
    const missing = !answer || !answer.ok || find("studies").querySelector("[data-missing]");
    if (missing && attempt < 20) setTimeout(() => showStudies(attempt + 1), 1500);
  }

  // ---- buttons
  find("pause").addEventListener("click", () => {
    paused = !paused;
    find("pause").textContent = texts[paused ? "resume" : "pause"];
    if (paused) {
      gate = new Promise((resolve) => { wake = resolve; });
      for (const request of sending.keys()) { request.aborted = true; request.abort(); }
    } else { began = performance.now(); beganBytes = doneBytes; wake(); }
    show();
  });
  find("retry").addEventListener("click", () => {
    for (const file of all) if (file.state === "failed") { file.state = "waiting"; file.why = ""; doneBytes -= file.size; queue.push(file); row(file); }
    stopped = "";
    began = performance.now();
    beganBytes = doneBytes;
    start();
    show();
  });
  find("problems").addEventListener("change", (event) => { find("results").classList.toggle("problems-only", event.target.checked); });
  find("save").addEventListener("click", () => {
    const quote = (text) => `"${String(text).replaceAll('"', '""').replace(/^[=+\-@]/, "'$&")}"`;
    const lines = all.map((file) => [file.name, file.size, texts[file.state], file.why, file.sop || ""].map(quote).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n")], { type: "text/csv" }));
    link.download = "upload.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  function stop(text) { stopped = text; queue.splice(0).forEach((file) => settle(file, "failed", text)); }
  addEventListener("beforeunload", (event) => { if (busy()) event.preventDefault(); });
});
