"use strict";
// Figures that a reader chooses, drawn from the numbers in the page. Nothing is loaded and nothing is sent; what is
// drawn here is what the static figures show, which paper and browsers without scripts have in its place.
(() => {
  const blocks = JSON.parse(document.getElementById("explore").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const ALL = "";
  const SHADES = { 50: 0.45, 68: 0.32, 90: 0.16 };
  const INK = "currentColor", RULE = "var(--muted)";
  const night = matchMedia("(prefers-color-scheme: dark)");

  // -- elements ------------------------------------------------------------------------------------------------
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function shape(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /** Contrast of a colour with the dark page (WCAG 2). */
  function contrast(channels) {
    const linear = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05) / 0.057;
  }

  /** A colour as it is; in the dark, one that could not be seen there is mixed with white until it can. */
  function tone(color) {
    if (!night.matches || !/^#[0-9a-f]{6}$/i.test(color)) return color;
    let channels = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16) / 255);
    while (contrast(channels) < 3) channels = channels.map((c) => c + 0.1 * (1 - c));
    return `rgb(${channels.map((c) => Math.round(255 * c)).join(" ")})`;
  }

  // -- numbers -------------------------------------------------------------------------------------------------
  function words(x) {
    if (x === null || x === undefined) return "–";
    if (x === 0) return "0";
    const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(x)))));
    return x.toFixed(digits).replace("-", "−");
  }

  /** Round numbers between two, about so many. */
  function ticks(low, high, wanted) {
    const rough = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
    const digits = Math.max(0, Math.min(10, 1 - Math.floor(Math.log10(step) + 1e-9)));
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
    const texts = found.map((x) => x.toFixed(digits));
    const trimmed = texts.every((t) => /\.\d*0$/.test(t)) ? texts.map((t) => t.replace(/\.?0$/, "")) : texts;
    return found.map((x, i) => [x, trimmed[i].replace("-", "−").replace(/^−(0\.?0*)$/, "$1")]);
  }

  function extent(layers, from, to, zero) {
    let low = zero ? 0 : Infinity, high = zero ? 0 : -Infinity;
    const reach = (y) => { if (y !== null) { low = Math.min(low, y); high = Math.max(high, y); } };
    for (const layer of layers) {
      for (let i = from; i <= to; i += 1) {
        if (layer.kind === "stack") {
          let up = 0, down = 0;
          for (const part of layer.parts) { const y = part.y[i] ?? 0; if (y > 0) up += y; else down += y; }
          reach(up); reach(down);
        } else for (const y of layer.kind === "band" ? [layer.low[i], layer.high[i]] : [layer.y[i]]) reach(y ?? null);
      }
    }
    if (!Number.isFinite(low)) return [0, 1];
    if (high - low < 1e-12) return [low - 0.5, high + 0.5];
    const room = 0.04 * (high - low);
    return [low === 0 && zero ? 0 : low - room, high === 0 && zero ? 0 : high + room];
  }

  // -- one panel -----------------------------------------------------------------------------------------------
  function draw(svg, spec, width, marker) {
    svg.replaceChildren();
    const { x, from, to } = spec, height = spec.height ?? 170, count = to - from + 1;
    const [low, high] = spec.range ?? extent(spec.layers, from, to, spec.zero !== false);
    const levels = ticks(low, high, height > 200 ? 5 : 4).filter(([y]) => y >= low && y <= high);
    const left = 12 + 6.6 * Math.max(...levels.map(([, t]) => t.length)), right = width - 10, top = 8, bottom = height - 24;
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const step = (right - left) / (spec.bars ? count : Math.max(count - 1, 1));
    const px = (i) => left + (i - from + (spec.bars ? 0.5 : 0)) * step;
    const py = (y) => bottom - ((y - low) / (high - low)) * (bottom - top);
    const at = (i, y) => `${px(i).toFixed(1)},${py(y).toFixed(1)}`;
    if (spec.shade > from) {
      const edge = Math.min(px(spec.shade), right);
      svg.append(shape("rect", { x: left, y: top, width: edge - left, height: bottom - top, fill: "var(--hover)" }));
    }
    for (const layer of spec.layers) {
      if (layer.kind === "band") {
        const known = [];
        for (let i = from; i <= to; i += 1) if (layer.low[i] != null) known.push(i);
        const path = [...known.map((i) => at(i, layer.high[i])), ...known.reverse().map((i) => at(i, layer.low[i]))];
        svg.append(shape("polygon", { points: path.join(" "), fill: tone(layer.color), "fill-opacity": layer.opacity }));
      } else if (layer.kind === "line") {
        let path = "", broken = true;
        for (let i = from; i <= to; i += 1) {
          if (layer.y[i] == null) { broken = true; continue; }
          path += `${broken ? "M" : "L"}${at(i, layer.y[i])}`;
          broken = false;
        }
        const line = { d: path || "M0,0", fill: "none", stroke: tone(layer.color), "stroke-width": layer.width ?? 1.8 };
        if (layer.dash) line["stroke-dasharray"] = layer.dash;
        svg.append(shape("path", line));
      } else {
        const ends = new Map();
        const wide = step * (spec.gap ?? 1);
        for (const part of layer.parts) {
          let path = "";
          for (let i = from; i <= to; i += 1) {
            const y = part.y[i] ?? 0, key = y > 0 ? i : -i - 1, base = ends.get(key) ?? 0;
            if (!y) continue;
            ends.set(key, base + y);
            const [a, b] = [py(base), py(base + y)], x0 = px(i) - wide / 2;
            path += `M${x0.toFixed(1)},${a.toFixed(1)}h${wide.toFixed(2)}V${b.toFixed(1)}h${(-wide).toFixed(2)}Z`;
          }
          if (path) svg.append(shape("path", { d: path, fill: tone(part.color), "fill-opacity": part.opacity ?? 1 }));
        }
      }
    }
    const rule = (x1, y1, x2, y2, stroke, more = {}) => shape("line", { x1, y1, x2, y2, stroke, "stroke-width": 0.8, ...more });
    if (low < 0 && high > 0) svg.append(rule(left, py(0), right, py(0), INK));
    if (spec.split !== undefined && spec.split > from && spec.split < to)
      svg.append(rule(px(spec.split) + step / 2, top, px(spec.split) + step / 2, bottom, RULE));
    svg.append(rule(left, top, left, bottom, RULE), rule(left, bottom, right, bottom, RULE));
    for (const [y, text] of levels) {
      svg.append(rule(left - 3, py(y), left, py(y), RULE));
      svg.append(shape("text", { x: left - 6, y: py(y) + 3.5, "text-anchor": "end" }, text));
    }
    for (const [i, text] of dateTicks(x, from, to, right - left)) {
      const where = Math.max(left + 3.2 * text.length - 4, Math.min(right + 8 - 3.2 * text.length, px(i)));
      svg.append(rule(px(i), bottom, px(i), bottom + 3, RULE));
      svg.append(shape("text", { x: where, y: bottom + 15, "text-anchor": "middle" }, text));
    }
    const cursor = rule(px(marker), top, px(marker), bottom, INK, { "stroke-dasharray": "2 2" });
    svg.append(cursor);
    return {
      move: (i) => { cursor.setAttribute("x1", px(i)); cursor.setAttribute("x2", px(i)); },
      index: (pixel) => Math.max(from, Math.min(to, Math.round((pixel - left) / step - (spec.bars ? 0.5 : 0)) + from)),
    };
  }

  /** Positions and words of the horizontal axis: years of dates, round numbers of quarters, or every word. */
  function dateTicks(x, from, to, room) {
    const shown = x.slice(from, to + 1);
    if (/^\d{4}Q[1-4]$/.test(String(shown[0]))) {
      const years = shown.map((d, i) => [i + from, d]).filter(([, d]) => d.endsWith("Q1"));
      const every = [1, 2, 5, 10, 20, 50].find((k) => (years.length / k) * 46 <= room) ?? 100;
      const found = years.filter(([, d]) => Number(d.slice(0, 4)) % every === 0).map(([i, d]) => [i, d.slice(0, 4)]);
      return found.length ? found : [[from, shown[0]]];
    }
    if (typeof shown[0] === "number") {
      const most = Math.max(2, Math.min(10, Math.floor(room / 34))), length = shown[shown.length - 1] - shown[0];
      const every = [1, 2, 5, 10, 20, 50, 100].find((k) => length / k <= most) ?? 200;
      return shown.map((h, i) => [i + from, h]).filter(([, h]) => h % every === 0).map(([i, h]) => [i, String(h)]);
    }
    return shown.map((h, i) => [i + from, String(h)]);
  }

  function panel(host, spec) {
    const svg = shape("svg", { role: "img", tabindex: 0, "aria-label": `${spec.title}, ${spec.units}; arrow keys read values` });
    const reading = element("output", { class: "reading" });
    const title = element("div", { class: "title" }, element("b", {}, spec.title), " ", element("span", {}, spec.units));
    host.append(element("div", { class: "panel" }, title, svg, reading));
    let at = Math.max(spec.from, Math.min(spec.to, spec.start ?? spec.from)), drawn;
    const show = (i) => { at = i; drawn.move(i); reading.textContent = spec.say(i); };
    svg.addEventListener("pointermove", (event) => show(drawn.index(event.clientX - svg.getBoundingClientRect().left)));
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      show(Math.max(spec.from, Math.min(spec.to, at + by)));
    });
    return () => { drawn = draw(svg, spec, Math.max(160, Math.floor(svg.parentNode.clientWidth)), at); show(at); };
  }

  // -- what a block shows ----------------------------------------------------------------------------------------
  const choice = (name, label, items, all) => ({
    name, label, value: all ? ALL : items[0].name,
    options: [...(all && items.length > 1 ? [[ALL, all]] : []), ...items.map((i) => [i.name, i.label])],
  });
  const span = (name, label, low, high, value, text) => ({ name, label, low, high, value, text });
  const dates = (x, from) => [
    { name: "from", label: "From", value: from ?? x[0], options: x.map((d) => [d, d]) },
    { name: "to", label: "to", value: x[x.length - 1], options: x.map((d) => [d, d]) },
  ];
  const between = (x, s) => [Math.min(x.indexOf(s.from), x.indexOf(s.to)), Math.max(x.indexOf(s.from), x.indexOf(s.to))];
  const chosen = (items, name) => items.map((item, i) => ({ ...item, i })).filter((item) => name === ALL || item.name === name);
  const quarters = (h) => `${h} quarter${h === 1 ? "" : "s"}`;

  function bands(quantiles, values, color) {
    const middle = quantiles.length >> 1, layers = [];
    for (let k = 0; k < middle; k += 1) {
      const percent = Math.round(100 * (1 - 2 * quantiles[k]));
      layers.push({ kind: "band", low: values[k], high: values[values.length - 1 - k], color, opacity: SHADES[percent] ?? 0.2 });
    }
    layers.push({ kind: "line", y: values[middle], color });
    return layers;
  }

  function said(quantiles, values, i) {
    const middle = quantiles.length >> 1;
    let text = words(values[middle][i]);
    for (let k = middle - 1; k >= 0; k -= 1) {
      const percent = Math.round(100 * (1 - 2 * quantiles[k]));
      if (percent !== 50) text += `, ${percent}% ${words(values[k][i])} to ${words(values[values.length - 1 - k][i])}`;
    }
    return text;
  }

  const VIEWS = {
    responses: (b) => ({
      // all shocks side by side, as far as there is room for them
      fields: [{ ...choice("shock", "Shock", b.shocks, "all"), value: b.shocks.length > 4 ? b.shocks[0].name : ALL },
        choice("variable", "Series", b.variables, "all"),
        span("horizon", "Horizon", Math.min(4, b.x.length - 1), b.x.length - 1, Math.min(20, b.x.length - 1), quarters)],
      columns: (s) => (s.shock === ALL ? Math.min(b.shocks.length, 4) : 3),
      panels: (s) => chosen(b.variables, s.variable).flatMap((v) => chosen(b.shocks, s.shock).map((k) => ({
        title: `${v.label} to ${k.label}`, units: v.units, x: b.x, from: 0, to: s.horizon, together: v.name,
        layers: bands(b.quantiles, b.values[v.i][k.i], k.color),
        say: (i) => `${i ? `after ${quarters(b.x[i])}` : "on impact"}: ${said(b.quantiles, b.values[v.i][k.i], i)}`,
      }))),
    }),
    shares: (b) => ({
      fields: [choice("variable", "Series", b.variables, "all"), { name: "at", label: "Read at", value: b.x[0],
        options: b.x.map((h) => [h, h === "cycle" ? "business cycle" : h === "∞" ? "all horizons" : quarters(Number(h))]) }],
      columns: () => 3,
      legend: () => b.groups,
      panels: (s) => chosen(b.variables, s.variable).map((v) => ({
        title: v.label, units: "percent of the variance", x: b.x, from: 0, to: b.x.length - 1, bars: true, gap: 0.8,
        range: [0, 100], start: b.x.indexOf(s.at),
        layers: [{ kind: "stack", parts: b.groups.map((g, k) => ({ y: b.values[v.i][k], color: g.color })) }],
        say: (i) => `${b.x[i]}: ${b.groups.map((g, k) => `${g.label} ${words(b.values[v.i][k][i])}`).join(", ")}; s.d. ${words(b.sd[v.i][i])}`,
      })),
    }),
    history: (b) => ({
      fields: [choice("variable", "Series", b.variables), choice("group", "Shocks", b.groups, "all"), ...dates(b.x)],
      columns: () => 1,
      legend: (s) => [...chosen(b.groups, s.group), { label: "paler: arrived before the sample", color: b.error_color, opacity: 0.4 },
        ...(b.error && s.group === ALL ? [{ label: "measurement error", color: b.error_color }] : [])],
      panels: (s) => chosen(b.variables, s.variable).map((v) => {
        const [from, to] = between(b.x, s), groups = chosen(b.groups, s.group);
        const parts = [...groups.map((g) => ({ y: b.since[v.i][g.i], color: g.color })),
          ...groups.map((g) => ({ y: b.earlier[v.i][g.i], color: g.color, opacity: 0.4 }))];
        if (b.error && s.group === ALL) parts.push({ y: b.error[v.i], color: b.error_color });
        return {
          title: v.label, units: `${v.units}, deviation from the mean`, x: b.x, from, to, bars: true, height: 300, start: to,
          layers: [{ kind: "stack", parts }, { kind: "line", y: b.total[v.i], color: INK, width: 1.2 }],
          say: (i) => `${b.x[i]}: ${words(b.total[v.i][i])}; ${groups.map((g) =>
            `${g.label} ${words(b.since[v.i][g.i][i] + b.earlier[v.i][g.i][i])}`).join(", ")}`,
        };
      }),
    }),
    shocks: (b) => ({
      fields: [choice("shock", "Shock", b.shocks, "all"), ...dates(b.x)],
      columns: () => 1,
      panels: (s) => chosen(b.shocks, s.shock).map((k) => {
        const [from, to] = between(b.x, s);
        return {
          title: k.label, units: "s.d.", x: b.x, from, to, height: s.shock === ALL ? 130 : 240, shade: b.x.indexOf(b.first), start: to,
          layers: bands(b.quantiles, b.values[k.i], k.color), say: (i) => `${b.x[i]}: ${said(b.quantiles, b.values[k.i], i)}`,
        };
      }),
    }),
    forecast: (b) => ({
      fields: [choice("variable", "Series", b.variables, "all"), span("horizon", "Ahead", 1, b.x.length, b.x.length, quarters),
        span("past", "Data", Math.min(4, b.before.length), b.before.length, Math.min(24, b.before.length), quarters)],
      columns: () => 3,
      panels: (s) => chosen(b.variables, s.variable).map((v) => {
        const known = b.before.length, x = [...b.before, ...b.x], blank = b.before.map(() => null);
        const shift = (y) => [...blank, ...y];
        const values = b.values[v.i].map(shift), ends = b.alone ? b.alone[v.i].map(shift) : [];
        return {
          title: v.label, units: v.units, x, from: known - s.past, to: known + s.horizon - 1, start: known, zero: false,
          height: s.variable === ALL ? 200 : 280, split: known - 1,
          layers: [...bands(b.quantiles, values, b.color), { kind: "line", y: [...b.past[v.i], ...b.x.map(() => null)], color: INK },
            ...ends.map((y) => ({ kind: "line", y, color: b.color, dash: "5 3", width: 1 }))],
          say: (i) => `${x[i]}: ${i < known ? words(b.past[v.i][i]) : said(b.quantiles, values, i)}`,
        };
      }),
    }),
    households: (b) => ({
      fields: [choice("shock", "Shock", b.shocks), { name: "what", label: "Show", value: "consumption", options: [
        ["consumption", "consumption by group"], ["given_states", "consumption, nobody changing state"], ["inequality", "how wealth is spread"]] },
        choice("partition", "Groups", b.partitions),
        span("horizon", "Horizon", Math.min(4, b.x.length - 1), b.x.length - 1, Math.min(20, b.x.length - 1), quarters)],
      columns: (s) => (s.what === "inequality" ? 3 : 1),
      legend: (s) => (s.what === "inequality" ? [] : b.partitions.find((p) => p.name === s.partition).groups),
      panels: (s) => {
        const k = b.shocks.findIndex((shock) => shock.name === s.shock), middle = b.quantiles.length >> 1;
        if (s.what === "inequality") return b.measures.map((m, i) => ({
          title: m.label, units: m.units, x: b.x, from: 0, to: s.horizon, layers: bands(b.quantiles, b.inequality[i][k], b.color),
          say: (h) => `after ${quarters(b.x[h])}: ${said(b.quantiles, b.inequality[i][k], h)}`,
        }));
        const groups = b.partitions.find((p) => p.name === s.partition).groups.map((g) => ({ ...g, i: b.groups.indexOf(g.name) }));
        return [{
          title: `Consumption to ${b.shocks[k].label}`, units: "percent of each group's own", x: b.x, from: 0, to: s.horizon, height: 280,
          layers: [...groups.map((g) => ({ kind: "line", y: b[s.what][g.i][k][middle], color: g.color })),
            ...groups.filter(() => s.what === "consumption").map((g) => (
              { kind: "line", y: b.given_states[g.i][k][middle], color: g.color, dash: "5 3", width: 1 }))],
          say: (h) => `${h ? `after ${quarters(b.x[h])}` : "on impact"}: ${groups.map((g) => `${g.label} ${words(b[s.what][g.i][k][middle][h])}`).join(", ")}`,
        }];
      },
    }),
    effects: (b) => ({
      fields: [choice("shock", "Shock", b.shocks), choice("output", "Output", b.outputs, "all"),
        span("horizon", "Horizon", Math.min(4, b.x.length - 1), b.x.length - 1, Math.min(20, b.x.length - 1), quarters)],
      columns: () => 2,
      legend: () => [...b.inputs, { label: "response", color: INK }],
      panels: (s) => chosen(b.outputs, s.output).map((o) => {
        const k = b.shocks.findIndex((shock) => shock.name === s.shock);
        return {
          title: `${o.label} to ${b.shocks[k].label}`, units: o.units, x: b.x, from: 0, to: s.horizon, bars: true, gap: 0.9, height: 220,
          layers: [{ kind: "stack", parts: b.inputs.map((x, j) => ({ y: b.values[o.i][k][j], color: x.color })) },
            { kind: "line", y: b.response[o.i][k], color: INK }],
          say: (h) => `${h ? `after ${quarters(b.x[h])}` : "on impact"}: ${words(b.response[o.i][k][h])}; ${b.inputs.map((x, j) => `${x.label} ${words(b.values[o.i][k][j][h])}`).join(", ")}`,
        };
      }),
    }),
  };

  // -- controls, panels, legend ----------------------------------------------------------------------------------
  function explore(figure, view) {
    const state = Object.fromEntries(view.fields.map((f) => [f.name, f.value]));
    const controls = element("div", { class: "controls" }), panels = element("div", { class: "panels" });
    const legend = element("div", { class: "legend" });
    let redraws = [];
    const render = () => {
      panels.replaceChildren();
      panels.style.setProperty("--columns", view.columns(state));
      const specs = view.panels(state), ranges = new Map();
      for (const spec of specs.filter((one) => one.together !== undefined)) { // one scale for what is compared
        const [low, high] = extent(spec.layers, spec.from, spec.to, true), known = ranges.get(spec.together) ?? [low, high];
        ranges.set(spec.together, [Math.min(low, known[0]), Math.max(high, known[1])]);
      }
      redraws = specs.map((spec) => panel(panels, { range: ranges.get(spec.together), ...spec }));
      redraws.forEach((redraw) => redraw());
      legend.replaceChildren(...(view.legend?.(state) ?? []).map((item) => {
        const swatch = element("i");
        swatch.style.background = tone(item.color);
        swatch.style.opacity = item.opacity ?? 1;
        return element("span", {}, swatch, item.label);
      }));
    };
    for (const field of view.fields) {
      if (field.options && field.options.length < 2) continue;
      let input, note = null;
      if (field.options) {
        input = element("select", {}, ...field.options.map(([value, text]) => element("option", { value }, text)));
        input.value = field.value;
      } else {
        input = element("input", { type: "range", min: field.low, max: field.high, step: 1, value: field.value });
        note = element("span", { class: "value" }, field.text(field.value));
      }
      input.addEventListener("input", () => {
        state[field.name] = field.options ? input.value : Number(input.value);
        if (note) note.textContent = field.text(state[field.name]);
        render();
      });
      controls.append(element("label", {}, `${field.label} `, input, ...(note ? [note] : [])));
    }
    const button = element("button", { type: "button", "aria-pressed": "false" }, "as printed");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(figure.classList.toggle("printed")));
      if (!figure.classList.contains("printed")) redraws.forEach((redraw) => redraw());
    });
    controls.append(button);
    figure.prepend(element("div", { class: "explore" }, controls, panels, legend));
    figure.classList.add("live");
    render();
    night.addEventListener("change", render);
    let width = panels.clientWidth;
    new ResizeObserver(() => {
      if (panels.clientWidth === width || !panels.clientWidth) return;
      width = panels.clientWidth;
      redraws.forEach((redraw) => redraw());
    }).observe(panels);
  }

  for (const [name, block] of Object.entries(blocks)) {
    const figure = document.getElementById(`figure-${name}`);
    if (figure && VIEWS[block.kind]) explore(figure, VIEWS[block.kind](block));
  }
})();
