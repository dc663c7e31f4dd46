// Tables that are edited in place: add, remove and move rows.
"use strict";

document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-row]");
  if (event.target.closest("[data-add-row]")) {
    const made = document.getElementById("row").content.cloneNode(true);
    const number = "new" + document.querySelectorAll("[data-row]").length + Date.now();
    made.querySelectorAll("[name]").forEach((field) => {
      field.name = field.name.replace("NEW", number);
      if (field.name === "n") field.value = number;
    });
    document.querySelector("[data-rows]").append(made);
    document.querySelector("[data-rows] tr:last-child input:not([type=hidden])").focus();
  }
  if (!row) return;
  if (event.target.closest("[data-drop-row]")) row.remove();
  if (event.target.closest("[data-up]") && row.previousElementSibling) { row.previousElementSibling.before(row); event.target.focus(); }
  if (event.target.closest("[data-down]") && row.nextElementSibling) { row.nextElementSibling.after(row); event.target.focus(); }
});
