// A case beside its images: the divider between them, the image that is on the screen, and links to images.
"use strict";
(() => {
  const frame = () => document.querySelector("iframe[data-viewer]");

  // The viewer is of this origin; its script tells which image is active (viewer-case.js).
  function current() {
    const shown = frame();
    try {
      return shown && shown.contentWindow.regionCase ? shown.contentWindow.regionCase.current() : null;
    } catch {
      return null;
    }
  }
  window.regionCurrentImage = current;

  // A link to an image is followed in the open viewer, without loading it again where that is possible.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-show-image]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const [study, series, instance, number] = link.dataset.showImage.split(" ");
    const shown = frame();
    try {
      if (shown && shown.contentWindow.regionCase && shown.contentWindow.regionCase.show({ study, series, instance, frame: Number(number) })) event.preventDefault();
    } catch { /* The link loads the viewer. */ }
  });

  // Divider
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("a[data-go]").forEach((link) => link.click());
    const divider = document.querySelector("[data-divider]");
    if (!divider) return;
    const split = divider.closest(".case-split");
    const key = "split-" + split.dataset.split;
    const set = (width) => {
      const kept = Math.round(Math.min(Math.max(width, 300), innerWidth - 320));
      split.style.setProperty("--panel", `${kept}px`);
      divider.setAttribute("aria-valuenow", String(kept));
      try { localStorage.setItem(key, String(kept)); } catch { /* Not kept. */ }
    };
    divider.setAttribute("aria-valuemin", "300");
    divider.setAttribute("aria-valuemax", String(innerWidth - 320));
    let kept = 0;
    try { kept = Number(localStorage.getItem(key)); } catch { /* Not kept. */ }
    const now = () => divider.nextElementSibling.getBoundingClientRect().width;
    if (kept) set(kept);
    else divider.setAttribute("aria-valuenow", String(Math.round(now())));
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      split.classList.add("moving");
      const move = (at) => set(innerWidth - at.clientX);
      divider.addEventListener("pointermove", move);
      divider.addEventListener("lostpointercapture", () => {
        divider.removeEventListener("pointermove", move);
        split.classList.remove("moving");
      }, { once: true });
    });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 32, ArrowRight: -32 }[event.key];
      if (!step) return;
      event.preventDefault();
      set(now() + step);
    });
  });

  // Comment with the image on the screen
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-attach-image]");
    if (!button) return;
    const form = button.form;
    const attached = button.getAttribute("aria-pressed") === "true";
    const image = attached ? null : current();
    for (const part of ["study", "series", "instance", "frame"]) form.elements["image_" + part].value = image ? String(image[part]) : "";
    button.setAttribute("aria-pressed", String(Boolean(image)));
    button.dataset.text = button.dataset.text || button.textContent;
    button.textContent = image ? button.dataset.on : attached ? button.dataset.text : button.dataset.none;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = event.detail.elt;
    if (!form.matches || !form.matches("[data-comment]") || !event.detail.successful) return;
    form.reset();
    const button = form.querySelector("[data-attach-image]");
    if (!button) return;
    for (const part of ["study", "series", "instance", "frame"]) form.elements["image_" + part].value = "";
    button.setAttribute("aria-pressed", "false");
    button.textContent = button.dataset.text || button.textContent;
  });
})();
