// In the viewer: tells a case's page or report which image is active, and goes to the image that it names.
"use strict";
(() => {
  const reading = window.regionReading;
  if (!reading) return;
  const IMAGE = /\/studies\/([\d.]+)\/series\/([\d.]+)\/instances\/([\d.]+)(?:\/frames\/(\d+))?/;

  function current() {
    const { viewportGridService, cornerstoneViewportService } = (window.services || {});
    if (!viewportGridService || !cornerstoneViewportService) return null;
    try {
      const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getActiveViewportId());
      const found = viewport && viewport.getCurrentImageId && IMAGE.exec(viewport.getCurrentImageId() || "");
      return found ? { study: found[1], series: found[2], instance: found[3], frame: Number(found[4] || 1) } : null;
    } catch {
      return null;
    }
  }

  function show({ study, series, instance, frame }) {
    const { viewportGridService, displaySetService, cornerstoneViewportService } = (window.services || {});
    if (!viewportGridService || !displaySetService || !cornerstoneViewportService) return false;
    try {
      const set = (displaySetService.getDisplaySetsForSeries(series) || []).find((one) => one.StudyInstanceUID === study);
      const id = viewportGridService.getActiveViewportId();
      const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
      if (!set || !viewport || !viewport.getImageIds || !viewport.setImageIdIndex) return false;
      const index = viewport.getImageIds().findIndex((one) => {
        const found = IMAGE.exec(one);
        return found && found[3] === instance && Number(found[4] || 1) === (frame || 1);
      });
      if (index < 0) return false; // Another series: the page loads the viewer at it.
      viewport.setImageIdIndex(index);
      return true;
    } catch {
      return false;
    }
  }
  window.regionCase = { current, show };

  // A report that is open in another window takes images from this one.
  if (!window.BroadcastChannel) return;
  const channel = new BroadcastChannel("region-report");
  let button = null;
  const offer = () => {
    const image = current();
    if (image) channel.postMessage({ kind: "image", image });
    else reading.tell(reading.texts["report.none"] || "");
  };
  channel.onmessage = (event) => {
    if (event.data.kind === "taken") reading.tell(reading.texts["report.taken"] || "");
    const ours = event.data.kind === "editor" && event.data.studies.some((uid) => reading.uids.split(",").includes(uid));
    if (!ours || button || window.top !== window) return;
    button = reading.element("button", reading.texts.report || "→", "", { type: "button", title: "Shift K", "aria-keyshortcuts": "Shift+K" });
    button.addEventListener("click", offer);
    reading.bar.append(button);
  };
  addEventListener("keydown", (event) => {
    if (button && event.key === "K" && event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey) offer();
  });
  addEventListener("DOMContentLoaded", () => channel.postMessage({ kind: "viewer" }));
})();
