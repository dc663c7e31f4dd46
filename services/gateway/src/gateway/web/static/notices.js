// A notice that is opened is read, also when its page does not say so itself.
"use strict";

document.addEventListener("click", (event) => {
  const opened = event.target.closest("[data-notice]");
  if (!opened) return;
  const headers = JSON.parse(document.body.getAttribute("hx-headers") || "{}");
  const body = new URLSearchParams({ notice: opened.dataset.notice });
  fetch("/portal/notices/seen", { method: "POST", headers, body, keepalive: true, redirect: "manual" }).catch(() => {});
});
