// What was dropped or chosen, as a flat list of candidates: folders are walked, ZIP archives are opened (zip.js).
// A candidate is {name, size, bytes(): Promise<Blob>} or {name, size, refused: <text key>}.
"use strict";
window.UploadRead = (() => {
  const MAX_ENTRIES = 100000;
  const MAX_ENTRY_BYTES = 1024 ** 3;          // an entry of an archive is unpacked in memory
  const MAX_ARCHIVE_BYTES = 200 * 1024 ** 3;
  const BOMB_RATIO = 100, BOMB_BYTES = 1024 ** 3;

  // Folders of a drop (File and Directory Entries API): readEntries gives at most 100 at a time.
  async function* walk(entry, path = "") {
    const name = path ? `${path}/${entry.name}` : entry.name;
    if (entry.isFile) {
      try {
        const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
        yield { name, file };
      } catch { yield { name, unreadable: true }; }
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
      if (!some) yield { name, unreadable: true };
      if (!some || !some.length) return;
      for (const inner of some) yield* walk(inner, name);
    }
  }

  // What was dropped is told during the event only, so it is taken at once.
  function fromDrop(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    const files = entries.length ? [] : [...transfer.files];
    return dropped(entries, files);
  }

  async function* dropped(entries, files) {
    for (const entry of entries) for await (const { name, file, unreadable } of walk(entry)) {
      if (unreadable) yield { name, size: 0, refused: "unreadable" };
      else yield* candidates(name, file);
    }
    for (const file of files) yield* candidates(file.name, file);
  }

  async function* fromInput(input) {
    for (const file of [...input.files]) yield* candidates(file.webkitRelativePath || file.name, file);
  }

  async function* candidates(name, file) {
    if (/\.zip$/i.test(name)) yield* unzip(name, file);
    else yield { name, size: file.size, bytes: async () => file };
  }

  async function* unzip(name, file) {
    let listed;
    try {
      zip.configure({ useWebWorkers: false });
      listed = [];
      const reader = new zip.ZipReader(new zip.BlobReader(file), { filenameEncoding: "gb18030" });
      for await (const entry of reader.getEntriesGenerator()) {
        if (listed.length >= MAX_ENTRIES) { yield { name, size: file.size, refused: "zip.many" }; return; }
        if (!entry.directory) listed.push(entry);
      }
    } catch { yield { name, size: file.size, refused: "zip.bad" }; return; }
    const unpacked = listed.reduce((sum, entry) => sum + entry.uncompressedSize, 0);
    if (unpacked > MAX_ARCHIVE_BYTES || (unpacked > BOMB_BYTES && unpacked > BOMB_RATIO * file.size)) {
      yield { name, size: file.size, refused: "zip.bomb" };
      return;
    }
    for (const entry of listed) {
      const inner = { name: `${name}/${entry.filename}`, size: entry.uncompressedSize };
      if (entry.encrypted) yield { ...inner, refused: "zip.encrypted" };
      else if (/\.zip$/i.test(entry.filename)) yield { ...inner, refused: "zip.nested" };
      else if (inner.size > MAX_ENTRY_BYTES) yield { ...inner, refused: "too-large" };
      else yield { ...inner, bytes: () => unpack(entry) };
    }
  }

  // No entry becomes longer than it says it is.
  async function unpack(entry) {
    const parts = [];
    let length = 0;
    const sink = new WritableStream({
      write(chunk) {
        length += chunk.length;
        if (length > entry.uncompressedSize) throw new Error("longer than it says");
        parts.push(chunk);
      },
    });
    await entry.getData(sink, { checkSignature: true });
    return new Blob(parts);
  }

  // File meta information (PS3.10 §7.1): always explicit VR little endian. null: no DICOM file.
  async function meta(blob) {
    const view = new DataView(await blob.slice(0, 8192).arrayBuffer());
    if (view.byteLength < 140 || view.getUint32(128) !== 0x4449434d) return null;
    const found = { sopClass: "", sop: "" };
    let at = 132;
    while (at + 8 <= view.byteLength && view.getUint16(at, true) === 2) {
      const element = view.getUint16(at + 2, true);
      const vr = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
      const long = ["OB", "OW", "UN", "SQ", "UT"].includes(vr);
      if (long && at + 12 > view.byteLength) break;
      const length = long ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
      const start = at + (long ? 12 : 8);
      if (start + length > view.byteLength) break;
      if (element === 2 || element === 3) {
        const text = new TextDecoder("ascii").decode(new Uint8Array(view.buffer, start, length)).replace(/[\0 ]+$/, "");
        found[element === 2 ? "sopClass" : "sop"] = text;
      }
      at = start + length;
    }
    return found;
  }

  return { fromDrop, fromInput, meta };
})();
