// Shows the pictures of a series, lossless, one image pixel on one pixel of the screen.
"use strict";
(() => {
  const told = document.body.dataset;
  const at = (id) => document.getElementById(id);
  const [stage, picture, words, place, windowing] = ["stage", "picture", "told", "place", "window"].map(at);
  const root = `/dicomweb/hospitals/${encodeURIComponent(told.holder)}/studies/${told.study}/series/${told.series}`;
  const PRESETS = { 1: null, 2: [-600, 1500], 3: [300, 1500], 4: [40, 400] };
  const AHEAD = 2;
  let pages = [];
  let page = 0;
  let look = null;
  let turn = 0;

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const value = (dataset, tag) => ((dataset[tag] || {}).Value || [])[0];
  const json = async (url) => {
    const answer = await fetch(url, { headers: { Accept: "application/dicom+json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.status === 204 ? [] : answer.json();
  };

  function address(index) {
    const { instance, frame } = pages[index];
    const query = look ? `?accept=image/png&window=${look[0]},${look[1]},linear` : "?accept=image/png";
    return `${root}/instances/${instance}/frames/${frame}/rendered${query}`;
  }

  const kept = new Map();
  function load(index) {
    const url = address(index);
    if (!kept.has(url)) {
      kept.set(url, fetch(url, { headers: { Accept: "image/png" } }).then(async (answer) => {
        if (!answer.ok) throw new Error(String(answer.status));
        return URL.createObjectURL(await answer.blob());
      }).catch((error) => { kept.delete(url); throw error; }));
      if (kept.size > 40) {
        const [oldest, made] = kept.entries().next().value;
        kept.delete(oldest);
        made.then((blob) => URL.revokeObjectURL(blob), () => {});
      }
    }
    return kept.get(url);
  }

  function size() {
    picture.style.width = `${picture.naturalWidth / devicePixelRatio}px`;
    picture.style.height = `${picture.naturalHeight / devicePixelRatio}px`;
  }

  async function show(index) {
    page = Math.min(pages.length - 1, Math.max(0, index));
    const mine = ++turn;
    at("previous").disabled = page === 0;
    at("next").disabled = page === pages.length - 1;
    place.textContent = fill(told.textImage, { n: page + 1, total: pages.length });
    windowing.textContent = look ? fill(told.textWindow, { center: look[0], width: look[1] }) : told.textDefault;
    try {
      const blob = await load(page);
      if (mine !== turn) return;
      picture.src = blob;
      await picture.decode();
      picture.hidden = false;
      words.textContent = "";
      size();
      for (let step = 1; step <= AHEAD; step += 1) if (page + step < pages.length) load(page + step).catch(() => {});
    } catch {
      if (mine === turn) { words.textContent = told.textFailed; picture.hidden = true; }
    }
  }

  async function window_() {
    if (look) return look;
    const [header] = await json(`${root}/instances/${pages[page].instance}/metadata`).catch(() => [{}]);
    return [Number(value(header, "00281050") ?? 40), Number(value(header, "00281051") ?? 400)];
  }
  async function change(center, width) {
    const [c, w] = await window_();
    look = [Math.round(c + center * Math.max(1, w / 20)), Math.max(1, Math.round(w * width))];
    show(page);
  }

  const keys = {
    ArrowRight: () => show(page + 1), ArrowDown: () => show(page + 1), PageDown: () => show(page + 10),
    ArrowLeft: () => show(page - 1), ArrowUp: () => show(page - 1), PageUp: () => show(page - 10),
    Home: () => show(0), End: () => show(pages.length - 1),
    "[": () => change(-1, 1), "]": () => change(1, 1), "-": () => change(0, 1 / 1.1), "=": () => change(0, 1.1),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !pages.length) return;
    if (event.key in PRESETS) { look = PRESETS[event.key]; show(page); return; }
    const act = keys[event.key];
    if (act) { act(); event.preventDefault(); }
  });
  stage.addEventListener("wheel", (event) => {
    if (event.ctrlKey || !pages.length) return;
    event.preventDefault();
    show(page + Math.sign(event.deltaY));
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    const from = [event.clientX + stage.scrollLeft, event.clientY + stage.scrollTop];
    const drag = (moved) => stage.scrollTo(from[0] - moved.clientX, from[1] - moved.clientY);
    stage.classList.add("drag");
    stage.setPointerCapture(event.pointerId);
    stage.addEventListener("pointermove", drag);
    stage.addEventListener("pointerup", () => { stage.classList.remove("drag"); stage.removeEventListener("pointermove", drag); }, { once: true });
  });
  at("previous").addEventListener("click", () => show(page - 1));
  at("next").addEventListener("click", () => show(page + 1));
  addEventListener("resize", size);
  if (location.hash === "#back") {
    at("back").hidden = false;
    at("back").addEventListener("click", () => history.back());
  }
  if (told.mark) {
    window.regionWatermark({ text: told.mark, opacity: Number(told.opacity), zone: told.zone }, () => stage.getBoundingClientRect());
  }

  async function list() {
    const found = [];
    for (;;) {
      const some = await json(`${root}/instances?limit=500&offset=${found.length}&includefield=00280008`);
      found.push(...some);
      if (some.length < 500) break;
    }
    found.sort((one, other) => (value(one, "00200013") ?? 0) - (value(other, "00200013") ?? 0));
    return found.flatMap((one) => {
      const frames = Number(value(one, "00280008") ?? 1);
      return Array.from({ length: frames }, (_, frame) => ({ instance: value(one, "00080018"), frame: frame + 1 }));
    });
  }
  list().then((found) => {
    pages = found;
    if (pages.length) { stage.focus(); show(0); } else words.textContent = told.textNone;
  }, () => { words.textContent = told.textFailed; });
})();
