// What is wrong with the layout of a page, in words: an expression whose value is a list.
(() => {
  const wrong = [], wide = document.documentElement.clientWidth;
  const name = (e) =>
    `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}.${e.getAttribute("class") ?? ""} ` +
    `"${(e.textContent || "").trim().slice(0, 40)}"`;
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const scrolls = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const whole = document.documentElement.scrollWidth;
  if (whole > wide) wrong.push(`the page is ${whole} px wide, the window ${wide}`);

  // out of the page, cut off, or over its own edge; what scrolls may be wider than what is seen of it
  for (const e of document.querySelectorAll("main *, header *, footer *")) {
    if (!seen(e) || e.closest(".skip") || e.matches("option, script, style") || scrolls(e)) continue;
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (box.right > wide + 1 || box.left < -1) wrong.push(`out of the page: ${name(e)}`);
    if (!(e instanceof HTMLElement) || e.scrollWidth <= e.clientWidth + 1) continue;
    if (["hidden", "clip"].includes(style.overflowX)) wrong.push(`cut off: ${name(e)}`);
    if (style.display === "block" && style.overflowX === "visible" && e.clientWidth)
      wrong.push(`spills over: ${name(e)} ${e.scrollWidth} > ${e.clientWidth}`);
  }

  const lie = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  for (const svg of document.querySelectorAll(".panel svg")) {
    if (!seen(svg)) continue;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((t) => [t, t.getBoundingClientRect()]);
    texts.forEach(([t, box], i) => {
      const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.bottom <= frame.bottom + 1;
      if (!inside || box.top < frame.top - 4) wrong.push(`cut off in a panel: ${name(t)}`);
      for (const [other, its] of texts.slice(i + 1))
        if (lie(box, its)) wrong.push(`on each other: ${name(t)} and ${name(other)}`);
    });
  }

  const kinds = ["p", "h2", "h3", "figcaption", "dt", "dd", "svg", "img", "caption", "label", "button", "li", "output",
    ".title", "summary"];
  const blocks = [...document.querySelectorAll(kinds.map((k) => `main ${k}`).join(", "))].filter((e) => seen(e) && !scrolls(e));
  const boxes = blocks.map((e) => e.getBoundingClientRect());
  blocks.forEach((a, i) => {
    for (let j = i + 1; j < blocks.length && boxes[j].top < boxes[i].bottom + 2000; j += 1) {
      const b = blocks[j];
      if (!a.contains(b) && !b.contains(a) && lie(boxes[i], boxes[j])) wrong.push(`on each other: ${name(a)} and ${name(b)}`);
    }
  });
  return wrong;
})()
