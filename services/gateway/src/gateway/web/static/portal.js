// The portal's own script: one live connection for all tabs of a browser, forms that are not overwritten, small help.
"use strict";

// Live events. Browsers allow six connections to a host over HTTP/1.1, so one tab listens and tells the others.
(() => {
  let channel = null;
  let failures = 0;

  function tell(name) {
    document.body.dispatchEvent(new CustomEvent("portal:" + name));
  }

  function lost(is) {
    document.getElementById("offline").hidden = !is;
  }

  // An emergency stands on the page until somebody goes there: a number at the bell is too little for it.
  function press(notice) {
    const place = document.getElementById("pressing");
    const known = [...place.querySelectorAll("a")].some((link) => link.getAttribute("href") === notice.link);
    if (!notice.link.startsWith("/portal/") || notice.link === location.pathname || known) return;
    const text = document.getElementById("text-pressing").content.cloneNode(true);
    text.querySelector("a").href = notice.link;
    text.querySelector("b").textContent = notice.number;
    place.append(text);
  }

  function relay(message) {
    receive(message);
    if (channel) channel.postMessage(message);
  }

  function receive(message) {
    if (message.ended) { location.assign("/portal/welcome"); return; } // not a reload: that might sign in again unasked
    if (message.lost !== undefined) lost(message.lost);
    if (message.pressing) press(message.pressing);
    if (message.name) tell(message.name);
  }

  function connect(address, release) {
    const source = new EventSource(address);
    source.addEventListener("changed", (event) => {
      failures = 0;
      relay({ name: event.data, lost: false });
    });
    source.addEventListener("notice", (event) => {
      failures = 0;
      const notice = JSON.parse(event.data);
      relay({ name: "notices", lost: false, pressing: notice.urgency === "emergency" ? notice : undefined });
    });
    source.addEventListener("ended", () => { source.close(); relay({ ended: true }); });
    source.onopen = () => { failures = 0; relay({ lost: false }); };
    source.onerror = () => {
      failures += 1;
      if (failures > 1) relay({ lost: true });
      if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(address, release), Math.min(30000, 1000 * failures));
    };
    addEventListener("pagehide", () => { source.close(); release(); }, { once: true });
  }

  addEventListener("DOMContentLoaded", () => {
    const address = document.body.dataset.live;
    if (!address) return;
    if (!navigator.locks || !window.BroadcastChannel) { connect(address, () => {}); return; }
    channel = new BroadcastChannel("portal-live");
    channel.onmessage = (event) => receive(event.data);
    navigator.locks.request("portal-live", () => new Promise((release) => connect(address, release)));
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();

// A case that changes while somebody writes is not replaced under their hands.
(() => {
  const typed = new WeakSet();
  document.addEventListener("input", (event) => {
    const panel = event.target.closest("[data-guarded]");
    if (panel) typed.add(panel);
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const panel = event.detail.target;
    if (event.detail.requestConfig.elt !== panel || !typed.has(panel) || event.detail.xhr.status >= 400) return;
    event.detail.shouldSwap = false;
    const version = /data-version="(\d+)"/.exec(event.detail.xhr.responseText);
    const shown = panel.querySelector("[data-version]").dataset.version;
    if (version && version[1] !== shown) document.getElementById("stale").hidden = false;
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-reload-case]")) location.reload();
    if (event.target.closest("[data-toggle-panel]")) document.querySelector(".split").classList.toggle("folded");
    const clear = event.target.closest("[data-clear]");
    if (clear) {
      event.preventDefault();
      const form = clear.form;
      for (const field of form.elements) {
        if (field.type === "radio") field.checked = field.value === "";
        else if (field.name && field.name !== "csrf") field.value = "";
      }
      form.requestSubmit();
    }
  });
  addEventListener("beforeunload", (event) => {
    const panel = document.querySelector("[data-guarded]");
    if (panel && typed.has(panel) && panel.querySelector(".editor")) event.preventDefault();
  });

  // Images that become open while the case is on the screen.
  document.addEventListener("htmx:afterSwap", (event) => {
    typed.delete(event.detail.target);
    const head = document.querySelector("#case [data-images]");
    const shown = document.querySelector(".stage iframe") ? "yes" : "no";
    if (!head || head.dataset.images === shown) return;
    document.getElementById("case").inert = true; // A click while the page is on its way out would be lost.
    location.reload();
  });
})();

// What is on the screen is seen: the bell does not count it.
document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-Visible"] = document.visibilityState === "visible" ? "1" : "0";
});

// Errors are told in words, where the page has room for them.
(() => {
  const flash = () => document.getElementById("flash");
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status < 400) { flash().replaceChildren(); return; }
    const ours = (xhr.getResponseHeader("Content-Type") || "").startsWith("text/html");
    event.detail.shouldSwap = ours;
    if (!ours) unreachable();
  });
  document.addEventListener("htmx:sendError", unreachable);
  document.addEventListener("htmx:timeout", unreachable);
  function unreachable() {
    flash().replaceChildren(document.getElementById("text-unreachable").content.cloneNode(true));
  }
})();

addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement && event.target.dataset.thumbnail !== undefined) event.target.classList.add("absent");
}, true);

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("form[data-submit-now]").forEach((form) => form.submit());
  document.querySelectorAll("form[data-once]").forEach((form) => form.addEventListener("submit", () => {
    form.querySelectorAll("button").forEach((button) => { button.disabled = true; });
  }));
});
