"use strict";
// The list of images and the treemap. All that comes from the cluster goes into the page as text, never as markup. Only the rows
// in view exist, between two spacers, and one row at a time is open, so that 100,000 images are as quick as a hundred. The first rows
// come apart from the list, and are shown while the browser still reads and unpacks the rest.
(async () => {
  const unpacked = (packed) => {
    const characters = atob(packed), packedBytes = new Uint8Array(characters.length);
    for (let at = 0; at < characters.length; at++) packedBytes[at] = characters.charCodeAt(at);
    return new Response(new Blob([packedBytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  let content, texts, deleted, whole = false, wanted = false, waitingFor = "Unpacking the list of images\u2026";
  const cannot = (error) => {
    waitingFor = "This browser cannot unpack the list of images (" + error + "). The report in text form has the same.";
    document.getElementById("count").textContent = waitingFor;
  };
  const use = (unpackedContent) => {
    content = unpackedContent;
    texts = content.texts;
    deleted = content.deleted && new Set(content.deleted);
  };
  let beginning;
  try {
    beginning = await unpacked(document.getElementById("beginning").textContent);
  } catch (error) {
    cannot(error);
    return;
  }
  use(beginning);
  const DIGEST = 0, KEPT = 1, CREATED = 2, SIZE = 3, NAME = 4, WHY = 5, REFERENCE = 6, NAMED = 7, USERS = 8, UNMEASURED = 9, TAKES = 10;
  const byId = (id) => document.getElementById(id);
  const viewport = byId("viewport"), rows = byId("rows"), search = byId("search"), which = byId("which"), count = byId("count");

  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const drawn = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const counted = (value, what) => number(value) + " " + what + (value === 1 ? "" : "s");
  const bytes = (value) => {
    if (value < 0) return "unknown";
    if (value < 1000) return value === 1 ? "1 byte" : value + " bytes";
    let unit = -1;
    while (value >= 1000 && unit < 5) { value /= 1000; unit++; }
    return value.toFixed(1) + " " + ["kB", "MB", "GB", "TB", "PB", "EB"][unit];
  };
  const time = (seconds) => seconds < 0 ? "unknown" : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
  const age = (seconds) => {
    if (seconds < 0) return "unknown";
    const hours = Math.floor((beginning.asOf - seconds) / 3600);
    return hours < 48 ? hours + " h" : Math.floor(hours / 24) + " d";
  };
  // What lets an image go, or takes it out of a stream, is said by its revisions first.
  const losing = (image) => image[NAMED].find((named) => !named[3]);
  const GOES = 0, STAYS = 1, ABSENT = 2;
  const goes = (image) => image[KEPT] !== STAYS || losing(image) !== undefined;
  const why = (image) => texts[losing(image) ? losing(image)[4] : image[WHY]];
  // After a run what should have gone is deleted or remains. A revision without an Image object is a revision, and no image. An image that
  // stays while a revision of it goes is untagged.
  const state = (image) => {
    if (image[KEPT] === ABSENT) return "absent";
    if (image[KEPT] === STAYS) return losing(image) ? "untagged" : "stays";
    if (!deleted) return "goes";
    return deleted.has(image[DIGEST]) ? "deleted" : "remains";
  };

  // A pull spec that ends in the image's own digest comes without it.
  const reference = (image) => texts[image[REFERENCE]].endsWith("@") ? texts[image[REFERENCE]] + image[DIGEST] : texts[image[REFERENCE]];

  // --- searching and sorting
  const searchable = (image) => [
    image[DIGEST], texts[image[NAME]], texts[image[WHY]], reference(image),
    ...image[NAMED].map((named) => texts[named[0]] + " " + texts[named[4]]), ...image[USERS].map((user) => texts[user]),
  ].join("\n").toLowerCase();
  let haystacks = null;
  const haystack = (at) => (haystacks ||= content.images.map(searchable))[at];
  const compareTexts = (left, right) => left < right ? -1 : left > right ? 1 : 0;
  const orders = {
    name: (a, b) => compareTexts(texts[a[NAME]], texts[b[NAME]]) || compareTexts(a[DIGEST], b[DIGEST]),
    state: (a, b) => compareTexts(state(a), state(b)),
    age: (a, b) => b[CREATED] - a[CREATED],
    size: (a, b) => a[SIZE] - b[SIZE],
    why: (a, b) => compareTexts(why(a), why(b)),
  };
  let sortBy = "size", descending = true, shown = [], open = -1, openHeight = 0;

  // How many rows are listed, and how many of them are of images that are pruned, or absent.
  const say = (listed, pruned, absent) => {
    const text = counted(listed - absent, "image") + " of " + number(beginning.total) + ", " + number(pruned) + " of them pruned"
      + (absent ? ", and revisions of " + counted(absent, "absent image") : "");
    // What is said again although it has not changed would be read out again.
    if (count.textContent !== text) count.textContent = text;
    byId("list").setAttribute("aria-rowcount", listed + 1);
  };
  const choose = () => {
    if (!whole) {
      wanted = true;
      count.textContent = waitingFor;
      return;
    }
    select();
    open = -1;
    viewport.scrollTop = 0;
    draw(true);
  };
  const select = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = { go: goes, stay: (image) => image[KEPT] === STAYS, all: () => true }[which.value];
    shown = [];
    for (let at = 0; at < content.images.length; at++) {
      if (!matches(content.images[at])) continue;
      if (words.every((word) => haystack(at).includes(word))) shown.push(at);
    }
    const order = orders[sortBy], sign = descending ? -1 : 1;
    shown.sort((a, b) => sign * order(content.images[a], content.images[b]) || a - b);
    const howMany = (state) => shown.reduce((sum, at) => sum + (content.images[at][KEPT] === state ? 1 : 0), 0);
    say(shown.length, howMany(GOES), howMany(ABSENT));
  };

  // --- drawing
  // On a narrow screen some columns are hidden, and a cell that spans all must not bring them back.
  const columns = () => [...document.querySelectorAll("#list thead th")].filter((head) => getComputedStyle(head).display !== "none").length;
  const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  let first = -1, last = -1;
  const draw = (anew) => {
    const height = rowHeight() + 1, after = 8;
    const offset = (at) => at * height + (open >= 0 && at > open ? openHeight : 0);
    const top = viewport.scrollTop;
    let from = Math.floor(top / height);
    if (open >= 0 && from > open) from = Math.max(open, Math.floor((top - openHeight) / height));
    from = Math.max(0, from - after);
    const to = Math.min(shown.length, from + Math.ceil(viewport.clientHeight / height) + 2 * after);
    if (!anew && from === first && to === last) return;
    first = from; last = to;
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.at : undefined;
    const made = document.createDocumentFragment();
    made.append(space(offset(from)));
    for (let at = from; at < to; at++) {
      made.append(row(at));
      if (at === open) made.append(detail(content.images[shown[at]]));
    }
    made.append(space(offset(shown.length) - offset(to)));
    rows.replaceChildren(made);
    // The spacers drawn here do not depend on it: the open row is between them.
    if (open >= from && open < to) openHeight = rows.querySelector("tr.detail").getBoundingClientRect().height;
    if (focused !== undefined) {
      const again = rows.querySelector('button[data-at="' + focused + '"]');
      if (again) again.focus({ preventScroll: true }); else viewport.focus({ preventScroll: true });
    }
  };
  const space = (height) => {
    const cell = element("td", { colspan: columns() });
    cell.style.height = height + "px";
    return element("tr", { class: "space", "aria-hidden": "true" }, cell);
  };
  const row = (at) => {
    const image = content.images[shown[at]];
    const name = texts[image[NAME]] || reference(image) || "(no name)";
    const button = element("button", { type: "button", "data-at": at, "aria-expanded": at === open ? "true" : "false" }, name,
      element("span", { class: "digest" }, image[DIGEST].slice(0, 19)));
    return element("tr", { class: "row", "aria-rowindex": at + 2 },
      element("th", { scope: "row" }, button),
      element("td", { class: "state " + (goes(image) ? "goes" : "stays") }, state(image)),
      element("td", { class: "number age" }, age(image[CREATED])),
      element("td", { class: "number size" }, bytes(image[SIZE])),
      element("td", { class: "why" }, why(image)));
  };
  const detail = (image) => {
    const cell = element("td", { colspan: columns() });
    const says = (label, value) => { if (value) cell.append(element("p", {}, element("strong", {}, label + ": "), value)); };
    const lists = (label, entries) => {
      if (entries.length) cell.append(element("p", {}, element("strong", {}, label + ":")), element("ul", {}, ...entries.map((entry) => element("li", {}, entry))));
    };
    cell.append(element("h3", {}, element("code", {}, image[DIGEST])));
    says({ absent: "Its Image object is absent, and a revision is pruned", stays: "Kept", untagged: "Kept, and loses a revision", goes: "Pruned", deleted: "Deleted", remains: "Remains, and should have been pruned" }[state(image)], texts[image[WHY]]);
    says("Created", time(image[CREATED]) + " (" + age(image[CREATED]) + " old)");
    if (image[KEPT] === GOES) says("Frees", bytes(image[SIZE]) + (image[UNMEASURED] ? ", and " + counted(image[UNMEASURED], "blob") + " of unknown size" : ""));
    says("Takes", image[TAKES] < 0 ? "" : bytes(image[TAKES]) + ", shared layers included");
    says("Reference", reference(image));
    lists("Revisions that name it", image[NAMED].map((named) =>
      texts[named[0]] + ", revision " + named[1] + " of " + time(named[2]) + ", " + (named[3] ? "stays" : "goes") + ": " + texts[named[4]]));
    lists("In use by", image[USERS].map((user) => texts[user]));
    return element("tr", { class: "detail" }, cell);
  };

  // --- what people do
  let waiting = 0;
  const soon = (work) => { clearTimeout(waiting); waiting = setTimeout(work, 60); };
  search.addEventListener("input", () => soon(choose));
  which.addEventListener("change", choose);
  byId("search-form").addEventListener("submit", (event) => { event.preventDefault(); choose(); });
  viewport.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  addEventListener("resize", () => { draw(true); drawTreemap(); });
  const toggle = (at) => { open = open === at ? -1 : at; openHeight = 0; draw(true); };
  rows.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-at]");
    if (button) { button.focus({ preventScroll: true }); toggle(Number(button.dataset.at)); }
  });
  rows.addEventListener("keydown", (event) => {
    const button = event.target.closest("button[data-at]");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!button || !step) return;
    event.preventDefault();
    const at = Math.min(shown.length - 1, Math.max(0, Number(button.dataset.at) + step));
    let next = rows.querySelector('button[data-at="' + at + '"]');
    if (!next) return;
    next.focus({ preventScroll: true });
    const box = next.getBoundingClientRect(), view = viewport.getBoundingClientRect(), height = rowHeight();
    if (box.bottom > view.bottom) viewport.scrollTop += box.bottom - view.bottom + height;
    if (box.top < view.top + height) viewport.scrollTop -= view.top + height - box.top + height;
  });
  const heads = [...document.querySelectorAll("#list thead button")];
  for (const button of heads) {
    button.addEventListener("click", () => {
      descending = sortBy === button.dataset.sort ? !descending : button.dataset.sort === "size" || button.dataset.sort === "age";
      sortBy = button.dataset.sort;
      for (const other of heads) {
        other.parentElement.setAttribute("aria-sort", other !== button ? "none" : descending ? "descending" : "ascending");
      }
      choose();
    });
  }

  // --- treemap: squarified, namespaces first, image streams within
  const squarify = (tiles, x, y, width, height) => {
    const placed = [], total = tiles.reduce((sum, tile) => sum + tile.value, 0);
    if (!total || width <= 0 || height <= 0) return placed;
    const scale = width * height / total;
    let rest = tiles.slice();
    while (rest.length) {
      const side = Math.min(width, height);
      let taken = 0, sum = 0, worst = Infinity;
      while (taken < rest.length) {
        const area = rest[taken].value * scale, whole = sum + area;
        const largest = rest[0].value * scale;
        const ratio = Math.max(side * side * largest / (whole * whole), whole * whole / (side * side * area));
        if (taken && ratio > worst) break;
        worst = ratio; sum = whole; taken++;
      }
      const depth = sum / side;
      let along = 0;
      for (const tile of rest.slice(0, taken)) {
        const length = tile.value * scale / depth;
        placed.push(width >= height ? { tile, x, y: y + along, width: depth, height: length } : { tile, x: x + along, y, width: length, height: depth });
        along += length;
      }
      if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
      rest = rest.slice(taken);
    }
    return placed;
  };
  const drawTreemap = () => {
    const place = byId("treemap");
    if (!place) return;
    const width = Math.max(200, Math.floor(place.clientWidth)), height = width < 600 ? 320 : 380;
    const groups = new Map();
    for (const [namespace, stream, size, images] of beginning.streams) {
      if (size <= 0) continue;
      if (!groups.has(namespace)) groups.set(namespace, { value: 0, namespace, tiles: [] });
      const group = groups.get(namespace);
      group.value += size;
      group.tiles.push({ value: size, stream, images });
    }
    for (const group of groups.values()) group.tiles.sort((a, b) => b.value - a.value);
    if (!groups.size) {
      place.replaceChildren(element("p", {}, "Nothing is known to be freed."));
      return;
    }
    const svg = drawn("svg", { width, height, viewBox: "0 0 " + width + " " + height });
    const ordered = [...groups.values()].sort((a, b) => b.value - a.value);
    squarify(ordered, 0, 0, width, height).forEach((area, position) => {
      const hue = (205 + position * 47) % 360;
      const head = area.height > 34 && area.width > 44 ? 18 : 0;
      svg.append(drawn("rect", { x: area.x, y: area.y, width: area.width, height: area.height, fill: "hsl(" + hue + " 45% 20%)" }));
      if (head) label(svg, area.tile.namespace || "(elsewhere)", area.x + 5, area.y + 13, area.width - 8, "");
      for (const tile of squarify(area.tile.tiles, area.x, area.y + head, area.width, area.height - head)) {
        const rect = drawn("rect", { x: tile.x, y: tile.y, width: tile.width, height: tile.height, fill: "hsl(" + hue + " 45% 32%)" });
        const title = drawn("title", {});
        title.textContent = tile.tile.stream + ": " + bytes(tile.tile.value) + ", " + counted(tile.tile.images, "image");
        rect.append(title);
        rect.addEventListener("click", () => {
          search.value = tile.tile.stream.startsWith("(") ? area.tile.namespace && area.tile.namespace + "/" : tile.tile.stream;
          which.value = "go";
          choose();
          byId("images").scrollIntoView();
        });
        svg.append(rect);
        if (tile.height > 20 && tile.width > 50) label(svg, tile.tile.stream.slice(tile.tile.stream.indexOf("/") + 1), tile.x + 5, tile.y + 15, tile.width - 8, "");
        if (tile.height > 38 && tile.width > 60) label(svg, bytes(tile.tile.value), tile.x + 5, tile.y + 30, tile.width - 8, "size");
      }
    });
    place.replaceChildren(svg);
  };
  const label = (svg, text, x, y, room, name) => {
    const fits = Math.floor(room / (svg.getAttribute("width") < 600 ? 5.7 : 6.8));
    if (fits < 4) return;
    const made = drawn("text", { x, y, class: name });
    made.textContent = text.length > fits ? text.slice(0, fits - 1) + "\u2026" : text;
    svg.append(made);
  };

  if (beginning.all) which.value = "all";
  shown = content.images.map((_, at) => at);
  say(beginning.listed.rows, beginning.listed.pruned, beginning.listed.absent);
  draw(true);
  drawTreemap();
  document.documentElement.dataset.shown = "true";

  if (document.readyState === "loading") await new Promise((parsed) => document.addEventListener("DOMContentLoaded", parsed, { once: true }));
  // What was drawn is painted before the list takes the browser's time.
  await new Promise((painted) => setTimeout(painted, 50));
  try {
    use(await unpacked(byId("content").textContent));
  } catch (error) {
    cannot(error);
    return;
  }
  whole = true;
  if (wanted) {
    choose();
  } else {
    // The same rows come first, so that whoever reads them stays where they are.
    select();
    draw(true);
  }
  document.documentElement.dataset.ready = "true";
})();
