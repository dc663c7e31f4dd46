// A window's first page: has the cookie come back? Then on to the images; else a new tab is offered.
"use strict";
addEventListener("DOMContentLoaded", async () => {
  const main = document.querySelector("main[data-grant]");
  if (!main || !main.dataset.grant) return;
  const show = (id) => {
    document.getElementById("opening").hidden = true;
    document.getElementById(id).hidden = false;
  };
  try {
    const answer = await fetch("/launch/here", { cache: "no-store", credentials: "same-origin" });
    const { grants } = await answer.json();
    if (!grants.includes(main.dataset.grant)) show("blocked");
    else if (!main.dataset.next) show("no-images");
    else location.replace(main.dataset.next);
  } catch {
    show("blocked");
  }
});
