// A share link: its secret leaves the address at once, and goes to the portal when the visitor asks for the images.
"use strict";
(() => {
  const secret = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);

  function say(key) {
    document.querySelectorAll("[data-text]").forEach((text) => { text.hidden = text.dataset.text !== key; });
    document.getElementById("open-share").hidden = true;
  }

  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#open-share button");
    if (!secret) { say("shares.unknown"); return; }
    button.disabled = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const answer = await fetch("/share", { method: "POST", body: new URLSearchParams({ secret }), cache: "no-store" });
        const { next, problem } = await answer.json();
        if (next) location.replace(next);
        else say(problem || "shares.away");
      } catch {
        say("shares.away");
      }
    });
  });
})();
