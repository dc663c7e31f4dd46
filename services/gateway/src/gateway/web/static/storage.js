// A frame on another site's page may get no storage: reading `localStorage` then throws, and OHIF would not start.
// It gets one that lasts as long as the page. Runs before every other script.
"use strict";
(() => {
  class Passing {
    #kept = new Map();
    get length() { return this.#kept.size; }
    key(place) { return [...this.#kept.keys()][place] ?? null; }
    getItem(name) { return this.#kept.get(String(name)) ?? null; }
    setItem(name, value) { this.#kept.set(String(name), String(value)); }
    removeItem(name) { this.#kept.delete(String(name)); }
    clear() { this.#kept.clear(); }
  }
  for (const name of ["localStorage", "sessionStorage"]) {
    try {
      window[name].getItem("");
    } catch {
      Object.defineProperty(window, name, { value: new Passing(), configurable: true });
    }
  }
})();
