// The keyboard in lists of studies: j and k or arrows, Enter opens, / searches, ? helps.
"use strict";
(() => {
  const ROWS = "#main [data-study]";
  const IMAGES = 'a[data-testid="view-study"], a[href^="/viewer?"]';
  let chosen = "";

  const rows = () => [...document.querySelectorAll(ROWS)].filter((row) => row.querySelector(IMAGES) && row.offsetParent !== null);
  const writes = (target) => target.closest && target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable], dialog");

  function choose(row, focus = true) {
    document.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
    if (!row) return;
    chosen = row.dataset.study;
    row.classList.add("chosen");
    row.tabIndex = -1;
    if (focus) row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const all = rows();
    const at = all.findIndex((row) => row.dataset.study === chosen);
    choose(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))]);
    return all.length > 0;
  }

  function open(event) {
    const row = rows().find((one) => one.dataset.study === chosen);
    if (!row || (event.target !== row && event.target !== document.body)) return false;
    row.querySelector(IMAGES).click();
    return true;
  }

  function search() {
    const field = document.querySelector("#main input[type=search]");
    if (!field) return false;
    field.focus();
    field.select();
    return true;
  }

  function help() {
    const dialog = document.getElementById("keys");
    if (!dialog) return false;
    if (dialog.open) dialog.close();
    else {
      dialog.showModal();
      dialog.addEventListener("close", () => {
        const row = rows().find((one) => one.dataset.study === chosen);
        if (row) row.focus();
      }, { once: true });
    }
    return true;
  }

  const keys = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    Home: () => step(-Infinity), End: () => step(Infinity), Enter: open, "/": search, "?": help,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (writes(event.target) && !(event.key === "?" && event.target.closest("dialog#keys"))) return;
    const radio = event.target.matches && event.target.matches("input[type=radio]") && event.key.startsWith("Arrow");
    const act = keys[event.key];
    if (act && !radio && act(event)) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys-open]") || event.target.closest("[data-keys-close]")) help();
    const row = event.target.closest(ROWS);
    if (row && row.querySelector(IMAGES)) choose(row, false);
  });
  // A list that is shown anew keeps what was chosen.
  document.addEventListener("htmx:afterSwap", () => {
    const row = rows().find((one) => one.dataset.study === chosen);
    if (row) choose(row, document.activeElement === document.body);
  });
})();
