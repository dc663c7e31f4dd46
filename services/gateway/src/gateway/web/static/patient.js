// Two ticks, side by side: the button says when it can be used; a third tick takes the place of the oldest.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-compare]");
  if (!form) return;
  const button = form.querySelector("[data-compare-go]");
  const ticked = [];
  function show() { button.disabled = ticked.length !== 2; }
  form.addEventListener("change", (event) => {
    if (event.target.name !== "ref") return;
    const { value, checked } = event.target;
    const at = ticked.indexOf(value);
    if (at >= 0) ticked.splice(at, 1);
    if (checked) ticked.push(value);
    if (ticked.length > 2) {
      const first = form.querySelector(`input[name=ref][value="${CSS.escape(ticked.shift())}"]`);
      if (first) first.checked = false;
    }
    show();
  });
  document.addEventListener("htmx:afterSwap", () => {
    form.querySelectorAll("input[name=ref]").forEach((box) => { box.checked = ticked.includes(box.value); });
  });
  show();
});
