// The EHR's own script: images open in the frame by a code that is posted, the record follows the events, orders ask first.
"use strict";

// A launch code is asked from our server and posted into the frame; it never stands in an address.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-view]");
  if (!button) return;
  const stage = document.querySelector(".stage");
  const frame = stage.querySelector("iframe");
  const problem = document.getElementById("problem");
  button.disabled = true;
  problem.hidden = true;
  try {
    const answer = await fetch(stage.dataset.open, { method: "POST", body: new URLSearchParams({ study: button.dataset.view }) });
    if (!answer.ok) throw new Error(String(answer.status));
    const { code, action } = await answer.json();
    document.getElementById("placeholder").hidden = true;
    frame.hidden = false;
    const form = document.createElement("form");
    form.method = "post";
    form.action = action;
    form.target = frame.name;
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "code";
    field.value = code;
    form.append(field);
    document.body.append(form);
    form.submit();
    form.remove();
    document.querySelectorAll("[data-study]").forEach((row) => row.classList.toggle("shown", row.dataset.study === button.dataset.view));
  } catch {
    problem.textContent = stage.dataset.failed;
    problem.hidden = false;
  } finally {
    button.disabled = false;
  }
});

// The record is fetched anew when an event concerns it, and when the connection comes back.
addEventListener("DOMContentLoaded", () => {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  const label = live.querySelector("span");
  const usual = label.textContent;
  let due = 0;
  let first = true;
  async function refresh() {
    due = 0;
    const answer = await fetch(live.dataset.record);
    if (!answer.ok) return;
    const shown = document.querySelector(".shown[data-study]");
    document.getElementById("record").innerHTML = await answer.text();
    if (shown) document.querySelector(`#record [data-study="${shown.dataset.study}"]`)?.classList.add("shown");
  }
  function soon() {
    if (!due) due = setTimeout(() => refresh().catch(() => {}), 250);
  }
  const source = new EventSource(live.dataset.live);
  source.addEventListener("hello", () => {
    live.classList.remove("lost");
    label.textContent = usual;
    live.dataset.connected = "yes";
    if (!first) soon();
    first = false;
  });
  source.addEventListener("changed", () => {
    soon();
    label.textContent = live.dataset.updated;
    setTimeout(() => { label.textContent = usual; }, 4000);
  });
  source.onerror = () => {
    live.classList.add("lost");
    label.textContent = live.dataset.lost;
  };
  addEventListener("pagehide", () => source.close(), { once: true });
  setInterval(() => { if (document.querySelector("[data-testid=ehr-away]")) soon(); }, 5000);
});

// Before an order: has this been examined already?
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-recent]");
  if (!form) return;
  let latest = 0;
  async function ask() {
    latest += 1;
    const mine = latest;
    const body = new URLSearchParams({ modality: form.elements.modality.value, part: form.elements.part.value });
    const answer = await fetch(form.dataset.recent, { method: "POST", body });
    const text = await answer.text();
    if (mine === latest && answer.ok) document.getElementById("recent").innerHTML = text;
  }
  form.addEventListener("change", () => ask().catch(() => {}));
  ask().catch(() => {});
});
