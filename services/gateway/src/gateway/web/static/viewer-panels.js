// What the bar opens: trust details, the person's priors, other windows and monitors, and the keys.
"use strict";
(() => {
  const reading = window.regionReading;
  if (!reading) return;
  const { element } = reading;
  const COMPARE = "@ohif/hpCompare";
  let priors = null;
  let open = "";
  let back = null;

  const panel = element("div", "", "", { id: "region-panel", role: "dialog", tabindex: "-1", hidden: "" });
  const tools = element("div", "", "tools");
  const t = (key, values = {}) => (reading.texts[key] || "").replace(/\{(\w+)\}/g, (_, name) => values[name]);

  // In a frame of another site only this frame has the session: everything stays in it.
  function inForeignFrame() {
    try { return window.top.location.origin !== location.origin; } catch { return true; }
  }
  const framed = inForeignFrame();

  function close() {
    if (!open) return;
    open = "";
    panel.hidden = true;
    tools.querySelectorAll("[aria-expanded]").forEach((one) => one.setAttribute("aria-expanded", "false"));
    if (back && back.isConnected) back.focus();
  }

  function show(name, label, ...content) {
    if (!open) back = document.activeElement;
    open = name;
    const head = element("header");
    const shut = element("button", "×", "shut", { type: "button", "aria-label": t("close") });
    shut.addEventListener("click", close);
    head.append(element("h2", label), shut);
    panel.setAttribute("aria-label", label);
    panel.dataset.panel = name;
    panel.replaceChildren(head, ...content);
    panel.hidden = false;
  }

  function toggle(name, opener) {
    if (open === name) close();
    else opener();
    tools.querySelectorAll("[data-opens]").forEach((one) => one.setAttribute("aria-expanded", String(one.dataset.opens === open)));
  }

  // Details
  function seriesRow(one) {
    const line = element("tr");
    line.append(element("td", one.name), element("td", one.count, "num"), element("td", one.text));
    const cell = element("td");
    if (one.window) {
      const link = element("a", t("full"), "act", { href: one.window, title: t("full.title"), "data-full": one.series });
      link.addEventListener("click", (event) => { event.preventDefault(); fullWindow(one.window); });
      cell.append(link);
    }
    line.append(cell);
    return line;
  }

  function details(key) {
    const all = [...reading.facts.values()];
    const shown = key && reading.facts.has(key) ? [reading.facts.get(key)] : all;
    const parts = shown.map((one) => {
      const part = element("section");
      const list = element("dl");
      for (const { label, value } of one.details) list.append(element("dt", label), element("dd", value));
      const table = element("table");
      table.append(...one.series.map(seriesRow));
      part.append(element("h3", one.title), list, table);
      return part;
    });
    show("details", t("details"), ...parts);
    panel.dataset.key = key || "";
  }
  reading.showDetails = (key) => {
    if (open === "details" && panel.dataset.key === key) close();
    else { details(key); panel.focus(); }
  };

  // Priors
  const address = (uids, compare) => {
    const query = new URLSearchParams({ StudyInstanceUIDs: uids });
    if (compare) query.set("hangingProtocolId", COMPARE);
    if (reading.asked.get("lng")) query.set("lng", reading.asked.get("lng"));
    return "/viewer?" + query;
  };
  const current = () => reading.uids.split(",")[0];

  function priorRow(prior) {
    const line = element("li", "", prior.same ? "same" : "");
    const link = element("a", "", "prior", { href: address(`${current()},${prior.study}`, true), "data-prior": prior.study, title: t("compare") });
    link.append(element("time", `${prior.date} ${prior.time}`), element("b", prior.modality), element("span", [prior.part, prior.description].filter(Boolean).join(" · "), "what"));
    if (prior.same) link.append(element("em", t("same")));
    if (prior.later) link.append(element("em", t("later"), "later"));
    link.append(element("small", `${prior.hospital} · ${t("images", { count: prior.images })}`));
    const acts = element("span", "", "acts");
    acts.append(element("a", t("replace"), "act", { href: address(prior.study, false), "data-replace": prior.study }));
    if (!framed) {
      const other = element("button", t("second"), "act", { type: "button" });
      other.addEventListener("click", () => secondMonitor(address(prior.study, false)));
      acts.append(other);
    }
    line.append(link, acts);
    return line;
  }

  async function loadPriors() {
    try {
      const answer = await fetch("/portal/reading/priors?study=" + encodeURIComponent(reading.uids));
      if (!answer.ok) throw new Error(String(answer.status));
      priors = (await answer.json()).priors;
    } catch {
      priors = null;
    }
    const button = tools.querySelector('[data-opens="priors"]');
    button.textContent = priors ? t("priors.count", { count: priors.length }) : t("priors");
    button.dataset.count = priors ? String(priors.length) : "";
    if (open === "priors") showPriors();
  }

  function showPriors() {
    const list = element("ol", "", "priors");
    if (priors && priors.length) list.append(...priors.map(priorRow));
    const text = priors === null ? t("priors.failed") : t("priors.none");
    show("priors", t("priors"), priors && priors.length ? list : element("p", text, "empty"));
    const first = panel.querySelector("a.prior");
    (first || panel).focus();
    if (priors === null) loadPriors();
  }

  // Windows
  function openOn(url, screen) {
    const size = screen
      ? `popup,left=${screen.availLeft},top=${screen.availTop},width=${screen.availWidth},height=${screen.availHeight}`
      : `popup,width=${window.screen.availWidth},height=${window.screen.availHeight}`;
    const made = window.open(url, "_blank", size);
    if (made) made.opener = null;
    else reading.tell(t("blocked"));
    return made;
  }

  async function otherScreen() {
    if (!("getScreenDetails" in window)) return null;
    try {
      const all = await window.getScreenDetails();
      return all.screens.find((one) => one !== all.currentScreen) || null;
    } catch {
      return null;
    }
  }

  async function secondMonitor(url = location.href) {
    const screen = await otherScreen();
    if (openOn(url, screen) && !screen) reading.tell(t("second.none"));
  }

  function fullWindow(url) {
    if (framed) location.assign(url + "#back");
    else openOn(url, null);
  }

  function full() {
    const windows = [...reading.facts.values()].flatMap((one) => one.series.map((series) => series.window)).filter(Boolean);
    if (windows.length === 1) fullWindow(windows[0]);
    else { details(""); const link = panel.querySelector("a[data-full]"); (link || panel).focus(); }
  }

  // Keys: with Shift, where OHIF has none.
  const keys = {
    "?": () => help(),
    D: () => toggle("details", () => { details(""); panel.focus(); }),
    P: () => toggle("priors", showPriors),
    F: full,
  };
  if (!framed) Object.assign(keys, { N: () => openOn(location.href, null), M: () => secondMonitor() });

  const helpBox = element("dialog", "", "", { id: "region-help" });
  function help() {
    if (helpBox.open) { helpBox.close(); return; }
    const list = element("dl");
    const mine = [["?", "help"], ["Shift D", "details"], ["Shift P", "priors"], ["Shift F", "full"]];
    if (!framed) mine.push(["Shift N", "new"], ["Shift M", "second"]);
    const ohif = [["↑ ↓", "scroll"], ["← →", "viewports"], ["+ − =", "zoom"], ["I", "invert"], ["Space", "reset"]];
    for (const [key, name] of [...mine, ["Esc", "close"], ...ohif]) list.append(element("dt", key), element("dd", t("key." + name)));
    const shut = element("button", t("close"), "", { type: "button" });
    shut.addEventListener("click", () => helpBox.close());
    helpBox.setAttribute("aria-label", t("help"));
    helpBox.replaceChildren(element("h2", t("help")), list, shut);
    helpBox.showModal();
  }

  function move(step) {
    const links = [...panel.querySelectorAll("a.prior")];
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
  }

  addEventListener("keydown", (event) => {
    if (!reading.begun || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest && event.target.closest("input, textarea, select, [contenteditable]")) return;
    const inside = panel.contains(event.target) || helpBox.open || reading.bar.contains(event.target);
    if (event.key === "Escape" && open && !helpBox.open) { close(); event.stopPropagation(); return; }
    if (open === "priors" && inside && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      move(event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
    } else if (keys[event.key] && (event.key === "?" || event.shiftKey) && (!helpBox.open || event.key === "?")) {
      keys[event.key]();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (inside) event.stopPropagation();
  }, true);

  function tool(text, key, act, opens) {
    const made = element("button", text, "", { type: "button", title: key, "aria-keyshortcuts": key.replace(" ", "+") });
    if (opens) { made.dataset.opens = opens; made.setAttribute("aria-expanded", "false"); }
    made.addEventListener("click", act);
    return made;
  }

  // OHIF hangs two studies as 2×2; where that leaves viewports empty, its next stage is one beside the other.
  function sideBySide(tries = 120) {
    const { services, commandsManager } = window;
    try {
      const { protocol, stageIndex } = services.hangingProtocolService.getState().protocolId === COMPARE
        ? { protocol: COMPARE, stageIndex: services.hangingProtocolService.getState().stageIndex } : {};
      const viewports = [...services.viewportGridService.getState().viewports.values()];
      const empty = viewports.filter((one) => !(one.displaySetInstanceUIDs || []).length).length;
      if (protocol && viewports.length > 2) {
        if (empty && !stageIndex) commandsManager.runCommand("setHangingProtocol", { protocolId: COMPARE, stageIndex: 1 });
        return;
      }
    } catch { /* OHIF is not ready. */ }
    if (tries) setTimeout(() => sideBySide(tries - 1), 500);
  }

  reading.begin = () => {
    if (reading.asked.get("hangingProtocolId") === COMPARE) sideBySide();
    reading.begun = true;
    tools.append(tool(t("priors"), "Shift P", keys.P, "priors"), tool(t("full"), "Shift F", full));
    if (!framed) tools.append(tool(t("new"), "Shift N", keys.N), tool(t("second"), "Shift M", keys.M));
    tools.append(tool("?", "?", help));
    tools.lastChild.setAttribute("aria-label", t("help"));
    reading.bar.append(tools);
    document.body.append(panel, helpBox);
    loadPriors();
  };
  reading.redraw.push(() => {
    if (open === "details" && !panel.contains(document.activeElement)) details(panel.dataset.key);
  });
})();
