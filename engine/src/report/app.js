"use strict";
// Draws the document that the page carries. What is in it was decided and computed before: nothing here changes a
// figure, and every name becomes text, never markup.
(() => {
  const root = document.documentElement;
  const report = JSON.parse(document.getElementById("document").textContent);

  // ---- Elements ----

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // ---- Numbers ----

  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const thousands = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");

  function digits(value) {
    const size = Math.abs(value);
    if (Number.isInteger(value)) return thousands(value);
    if (size >= 999.5) return thousands(value);
    if (size >= 99.95) return value.toFixed(1);
    if (size >= 9.995) return value.toFixed(2);
    return size >= 0.001 ? value.toFixed(4) : value.toExponential(2);
  }

  function time(ns) {
    const [value, unit] =
      ns < 999.5 ? [ns, "ns"] : ns < 999500 ? [ns / 1e3, "us"] : ns < 999500000 ? [ns / 1e6, "ms"] : [ns / 1e9, "s"];
    const decimals = unit === "ns" ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return [value.toFixed(decimals), unit];
  }

  const short = (value) => {
    const [scaled, unit] = value >= 1e9 ? [value / 1e9, "G"] : value >= 1e6 ? [value / 1e6, "M"] : [value / 1e3, "k"];
    return trimmed(scaled.toFixed(2)) + unit;
  };

  const texts = {
    "per-second": (value) => `${thousands(value)} /s`,
    nanoseconds: (value) => time(value).join(" "),
    seconds: (value) => `${digits(value)} s`,
    nines: (value) => `p${trimmed((100 - 100 / value).toFixed(6))}`,
    share: (value) => `${trimmed(digits(value * 100))} %`,
    times: (value) => `${(value < 0.1 ? value.toPrecision(2) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0))}x`,
    bytes: (value) => `${digits(value)} B`,
    number: digits,
  };
  const text = (unit, value) => texts[unit](value);

  function tick(unit, value) {
    if (["per-second", "number", "bytes"].includes(unit) && value >= 10000) return short(value);
    if (unit === "nanoseconds") return `${trimmed(time(value)[0])} ${time(value)[1]}`;
    if (unit === "share") return `${trimmed((value * 100).toFixed(6))} %`;
    if (unit === "per-second" || unit === "seconds") return trimmed(value.toFixed(3));
    if ((unit === "number" || unit === "bytes") && (value === 0 || value >= 0.001)) return trimmed(value.toFixed(4));
    return text(unit, value);
  }

  const exact = { "per-second": " /s", nanoseconds: " ns", seconds: " s", bytes: " B" };
  /** As people read it, and, where that leaves something out, as it was stored. */
  function both(unit, value) {
    const shown = text(unit, value);
    if (unit === "nines") return shown;
    const stored = `${value}${exact[unit] || ""}`;
    return stored === shown || stored === trimmed(shown) ? shown : `${shown} (${stored})`;
  }

  // ---- What is switched off: the address has it, and nothing else ----

  function selection() {
    const parts = new URLSearchParams(location.hash.slice(1));
    return { at: parts.get("at") || "", off: new Set((parts.get("off") || "").split(",").filter(Boolean)) };
  }

  function select({ at, off }) {
    const parts = [];
    if (at) parts.push(`at=${at}`);
    if (off.size) parts.push(`off=${[...off].sort().join(",")}`);
    location.hash = parts.join("&");
  }

  function toggle(names, on) {
    const now = selection();
    for (const name of names) now.off[on ? "delete" : "add"](name);
    select(now);
  }

  // ---- Charts ----

  const charts = [];
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const look = (key) => ({ stroke: colour(`--c${key.colour}`), dash: [[], [7, 4], [2, 3]][key.dash] });
  const ratio = () => window.devicePixelRatio || 1;

  function marker(context, shape, x, y, size) {
    context.beginPath();
    if (shape === 0) context.arc(x, y, size, 0, 2 * Math.PI);
    else if (shape === 1) context.rect(x - size, y - size, 2 * size, 2 * size);
    else {
      const corners = shape === 2 ? [[0, -1.3], [1.2, 1], [-1.2, 1]] : [[0, -1.4], [1.4, 0], [0, 1.4], [-1.4, 0]];
      corners.forEach(([dx, dy], at) => context[at ? "lineTo" : "moveTo"](x + dx * size, y + dy * size));
      context.closePath();
    }
  }

  class Chart {
    constructor(figure, description, index, host) {
      Object.assign(this, { figure, description, index, host });
      this.drawn = description.series.map(() => 0);
      this.at = null;
      const { x, y } = description;
      const scale = (axis) => ({ time: false, auto: false, distr: axis.log ? 3 : 1, range: [axis.min, axis.max] });
      const axis = (side, name, described, size) => ({
        scale: name, side, size, label: described.label, labelSize: 20, gap: 4, labelGap: 0,
        font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
        stroke: () => colour("--text"), grid: { stroke: () => colour("--grid"), width: 1 },
        ticks: { stroke: () => colour("--grid"), width: 1, size: 4 },
        splits: () => described.ticks, filter: (_, splits) => splits,
        values: (_, splits) => this.labels(described, splits, side),
      });
      const series = description.series.map((each, at) => ({
        show: true, paths: () => this.paint(each, at),
        facets: [{ scale: "x", auto: false }, { scale: "y", auto: false }],
      }));
      const data = description.series.map(({ dots }) => [dots.map((dot) => dot.x), dots.map((dot) => dot.y)]);
      this.plot = new uPlot(
        {
          mode: 2, width: this.width(), height: 300, legend: { show: false }, cursor: { show: false },
          padding: [12, 26, 0, 0], scales: { x: scale(x), y: scale(y) }, axes: [axis(2, "x", x, 34), axis(3, "y", y, 62)],
          series: [{}, ...series],
          hooks: { drawClear: [() => this.drawn.fill(0)], draw: [() => this.mark()] },
        },
        [null, ...data],
        host,
      );
      this.spot = element("div", { class: "spot" });
      this.plot.over.append(this.spot);
      this.plot.over.addEventListener("pointermove", (event) => this.nearest(event));
      this.plot.over.addEventListener("pointerleave", () => this.leave());
      host.addEventListener("keydown", (event) => this.walk(event));
      host.addEventListener("blur", () => this.leave());
    }

    width() {
      return Math.max(240, this.host.clientWidth);
    }

    /** Labels that would run into each other are left out. */
    labels(axis, splits, side) {
      let last = -Infinity;
      return splits.map((value) => {
        const label = tick(axis.unit, value);
        if (side !== 2 || !this.plot) return label;
        const at = this.plot.valToPos(value, "x");
        if (at - last < 7 * label.length + 6) return "";
        last = at;
        return label;
      });
    }

    key(series) {
      return this.figure.legend[series.key];
    }

    place(dot, canvas) {
      const { x, y } = this.description;
      const inside = (axis, value) => Math.min(axis.max, Math.max(axis.min, value));
      return [this.plot.valToPos(inside(x, dot.x), "x", canvas), this.plot.valToPos(inside(y, dot.y), "y", canvas)];
    }

    paint(series, at) {
      const context = this.plot.ctx;
      const { stroke, dash } = look(this.key(series));
      const scale = ratio();
      const places = series.dots.map((dot) => this.place(dot, true));
      context.save();
      Object.assign(context, { strokeStyle: stroke, fillStyle: stroke, lineWidth: 2 * scale, lineJoin: "round" });
      if (series.dense) this.band(context, series);
      else this.bars(context, series);
      for (let from = 0; from + 1 < places.length; from++) {
        // What has too few samples behind it is pale and thin.
        const doubted = series.dense && series.dots[from + 1].doubts;
        context.setLineDash(dash.map((length) => length * scale));
        context.globalAlpha = doubted ? 0.5 : 1;
        context.lineWidth = (doubted ? 1.4 : 2) * scale;
        context.beginPath();
        context.moveTo(...places[from]);
        context.lineTo(...places[from + 1]);
        context.stroke();
      }
      context.setLineDash([]);
      context.globalAlpha = 1;
      if (!series.dense || places.length === 1) {
        places.forEach(([x, y], index) => {
          marker(context, this.key(series).colour % 4, x, y, 3.6 * scale);
          context.strokeStyle = stroke;
          context.fillStyle = series.dots[index].doubts ? colour("--paper") : stroke;
          context.lineWidth = 1.6 * scale;
          context.fill();
          context.stroke();
        });
      }
      context.restore();
      this.drawn[at] = places.length;
      return null;
    }

    /** From the least to the most that repetitions had. */
    band(context, series) {
      const ranged = series.dots.filter((dot) => dot.y_range);
      if (!ranged.length) return;
      const edge = (side) => ranged.map((dot) => this.place({ x: dot.x, y: dot.y_range[side] }, true));
      context.globalAlpha = 0.15;
      context.beginPath();
      [...edge(0), ...edge(1).reverse()].forEach((place, at) => context[at ? "lineTo" : "moveTo"](...place));
      context.fill();
      context.globalAlpha = 1;
    }

    bars(context, series) {
      context.lineWidth = ratio();
      context.beginPath();
      for (const dot of series.dots) {
        const ends = [];
        if (dot.y_range) ends.push(dot.y_range.map((y) => ({ x: dot.x, y })));
        if (dot.x_range) ends.push(dot.x_range.map((x) => ({ x, y: dot.y })));
        for (const [from, to] of ends) {
          context.moveTo(...this.place(from, true));
          context.lineTo(...this.place(to, true));
        }
      }
      context.stroke();
    }

    /** What happened, as lines from top to bottom. */
    mark() {
      const { ctx: context, bbox } = this.plot;
      const { off } = selection();
      const marks = this.description.marks.filter((mark) => !off.has(this.name(mark.key)));
      const scale = ratio();
      context.save();
      context.lineWidth = scale;
      context.font = `${11 * scale}px system-ui, sans-serif`;
      context.textAlign = "left";
      context.textBaseline = "bottom";
      const free = [];
      for (const mark of marks) {
        const [x] = this.place({ x: mark.x, y: this.description.y.max }, true);
        context.strokeStyle = context.fillStyle = look(this.figure.legend[mark.key]).stroke;
        context.setLineDash([3 * scale, 3 * scale]);
        context.beginPath();
        context.moveTo(x, bbox.top);
        context.lineTo(x, bbox.top + bbox.height);
        context.stroke();
        if (mark.repetition) continue;
        // In rows below each other, and left out where there is no row free.
        const width = context.measureText(mark.text).width + 8 * scale;
        let row = 0;
        while (row < 6 && free[row] > x) row++;
        if (row === 6) continue;
        free[row] = x + width;
        const right = x + width > bbox.left + bbox.width;
        context.textAlign = right ? "right" : "left";
        const place = [x + (right ? -3 : 3) * scale, bbox.top + (13 + 13 * row) * scale];
        context.setLineDash([]);
        context.lineWidth = 3 * scale;
        context.strokeStyle = colour("--paper");
        context.strokeText(mark.text, ...place);
        context.lineWidth = scale;
        context.fillText(mark.text, ...place);
      }
      context.restore();
    }

    name(key) {
      return `${this.figure.id}.${key}`;
    }

    update(off) {
      this.description.series.forEach((series, at) => {
        this.plot.series[at + 1].show = !off.has(this.name(series.key));
      });
      this.leave();
      this.plot.redraw(false, false);
    }

    resize(width = this.width(), height = 300) {
      this.plot.setSize({ width, height });
    }

    /** The visible dots, by series. */
    visible() {
      return this.description.series.map((series, at) => (this.plot.series[at + 1].show ? series.dots : []));
    }

    nearest(event) {
      const box = this.plot.over.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let best = [40, null];
      this.visible().forEach((dots, series) =>
        dots.forEach((dot, index) => {
          const [left, top] = this.place(dot, false);
          const far = Math.hypot(left - x, top - y);
          if (far < best[0]) best = [far, [series, index]];
        }),
      );
      if (best[1]) this.show(...best[1]);
      else this.leave();
    }

    walk(event) {
      const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
      if (event.key === "Escape") this.leave();
      if (!steps[event.key]) return;
      event.preventDefault();
      const visible = this.visible();
      const lines = visible.map((dots, at) => (dots.length ? at : -1)).filter((at) => at >= 0);
      if (!lines.length) return;
      const [line, step] = steps[event.key];
      const [series, index] = this.at || [lines[0], -step];
      const next = lines[(Math.max(0, lines.indexOf(series)) + line + lines.length) % lines.length];
      const count = visible[next].length;
      this.show(next, Math.min(count - 1, Math.max(0, index + step)));
    }

    show(series, index) {
      this.at = [series, index];
      const description = this.description;
      const dot = description.series[series].dots[index];
      const key = this.key(description.series[series]);
      const lines = [element("strong", null, key.name)];
      if (dot.label) lines.push(dot.label);
      for (const axis of ["x", "y"]) {
        const { label, unit } = description[axis];
        const range = dot[`${axis}_range`];
        lines.push(`${label}: ${both(unit, dot[axis])}` + (range ? `, ${range.map((v) => text(unit, v)).join(" to ")}` : ""));
      }
      lines.push(...(dot.doubts || []));
      const [left, top] = this.place(dot, false);
      this.spot.style.left = `${left}px`;
      this.spot.style.top = `${top}px`;
      this.spot.hidden = false;
      this.spot.style.display = "block";
      const box = this.plot.over.getBoundingClientRect();
      hover(lines, box.left + left, box.top + top);
    }

    leave() {
      this.at = null;
      this.spot.style.display = "none";
      hover(null);
    }
  }

  function hover(lines, x, y) {
    const box = document.getElementById("hover");
    box.hidden = !lines;
    if (!lines) return;
    box.replaceChildren(...lines.map((line) => element("div", null, line)));
    const left = Math.min(x + 14, innerWidth - box.offsetWidth - 8);
    const top = y + 14 + box.offsetHeight > innerHeight ? y - 14 - box.offsetHeight : y + 14;
    box.style.left = `${Math.max(4, left)}px`;
    box.style.top = `${Math.max(4, top)}px`;
  }

  // ---- The page ----

  function swatch(key) {
    const sign = element("span", { class: `swatch dash${key.dash}`, "aria-hidden": "true" });
    sign.style.color = `var(--c${key.colour})`;
    return sign;
  }

  function legend(figure) {
    const group = element("div", { class: "legend", role: "group", "aria-label": `Lines of ${figure.title}` });
    figure.legend.forEach((key, at) => {
      const button = element("button", { type: "button", "aria-pressed": "true", title: key.name }, swatch(key));
      button.append(element("span", { class: "name" }, key.name));
      button.dataset.key = `${figure.id}.${at}`;
      button.addEventListener("click", () => toggle([button.dataset.key], button.getAttribute("aria-pressed") === "false"));
      group.append(button);
    });
    if (figure.legend.length > 2) {
      const names = figure.legend.map((_, at) => `${figure.id}.${at}`);
      for (const [name, on] of [["all", true], ["none", false]]) {
        const button = element("button", { type: "button", class: "every" }, name);
        button.addEventListener("click", () => toggle(names, on));
        group.append(button);
      }
    }
    return group;
  }

  /** What a chart shows, for those who would rather read. */
  function values(figure) {
    const details = element("details", null, element("summary", null, "Values"));
    // Most never open it.
    details.addEventListener("toggle", () => {
      if (details.childElementCount > 1) return;
      for (const chart of figure.charts) {
        const rows = chart.series.flatMap((series) =>
          series.dots.map((dot) => ({
            names: [figure.legend[series.key].name, dot.label || ""],
            cells: [{ value: dot.x }, { value: dot.y }],
            doubts: dot.doubts,
          })),
        );
        const columns = [chart.x, chart.y].map(({ label, unit }) => ({ title: label, unit }));
        details.append(table({ title: chart.title, note: "", names: ["", ""], columns, rows }));
      }
    });
    return details;
  }

  function drawFigure(figure) {
    const plots = element("div", { class: "charts" });
    const made = element("figure", { id: figure.id, class: figure.charts.length > 1 ? "wide" : "" }, element("figcaption", null, figure.title), legend(figure), plots, values(figure));
    const hosts = figure.charts.map((chart) => {
      const host = element("div", {
        class: "chart", tabindex: "0", role: "application", "aria-roledescription": "chart",
        "aria-label": `${chart.title}. Arrow keys go from value to value`,
      });
      plots.append(element("div", { class: "panel" }, element("h4", null, chart.title), host));
      return host;
    });
    return [made, () => figure.charts.forEach((chart, at) => charts.push(new Chart(figure, chart, at, hosts[at])))];
  }

  function cell(column, { value, text: words, shade, grey }) {
    const made = element("td", { class: grey ? "figure grey" : value === undefined ? "words" : "figure" });
    if (value === undefined) made.append(element("div", { class: "clip" }, words || ""));
    else {
      made.append((grey ? "~" : "") + text(column.unit, value));
      made.title = both(column.unit, value) + (grey ? ": too few samples" : "");
      made.dataset.value = value;
    }
    if (shade !== undefined) {
      made.classList.add("shaded");
      made.style.setProperty("--shade", shade);
    }
    return made;
  }

  function table({ title, note, names, columns, rows }) {
    const head = element("tr");
    for (const name of names) head.append(element("th", { scope: "col" }, name));
    const words = (at) => rows.every((row) => row.cells[at].value === undefined);
    columns.forEach((column, at) => head.append(element("th", { scope: "col", class: words(at) ? "" : "figure" }, column.title)));
    const body = element("tbody");
    for (const row of rows) {
      const doubts = row.doubts || [];
      const made = element("tr", doubts.length ? { class: "doubtful", title: doubts.join("\n") } : null);
      for (const name of row.names) made.append(element("th", { scope: "row" }, element("div", { class: "clip" }, name)));
      row.cells.forEach((each, at) => made.append(cell(columns[at], each)));
      body.append(made);
    }
    const caption = element("caption", null, element("strong", null, title), note ? ` ${note}` : "");
    const made = element("table", null, caption, element("thead", null, head), body);
    return element("div", { class: "table", tabindex: "0", role: "region", "aria-label": title || "Values" }, made);
  }

  function head() {
    const [sentence, ...more] = report.answer;
    const badges = report.badges.map(({ text: words, level, why }) =>
      element("li", { class: `badge ${level}` }, element("strong", null, words), element("span", null, why)),
    );
    const links = report.sections.map(({ id, title }) => {
      const link = element("a", { href: `#at=${id}` }, title);
      link.addEventListener("click", (event) => {
        event.preventDefault();
        select({ ...selection(), at: id });
        document.getElementById(id).scrollIntoView();
      });
      return element("li", null, link);
    });
    document.getElementById("head").append(
      element("h1", null, report.title),
      ...report.asked.map((line) => element("p", { class: "asked" }, line)),
      element("p", { class: "answer" }, sentence || "Nothing was answered."),
      ...(more.length ? [element("ul", { class: "more" }, ...more.map((line) => element("li", null, line)))] : []),
      element("ul", { class: "badges", "aria-label": "Validity" }, ...badges),
      element("nav", { "aria-label": "Sections" }, element("ul", null, ...links)),
    );
  }

  function sections() {
    const begin = [];
    for (const { id, title, text: lines, figures, tables } of report.sections) {
      const section = element("section", { id }, element("h2", null, title));
      section.append(...lines.map((line) => element("p", null, line)));
      const grid = element("div", { class: "figures" });
      for (const figure of figures) {
        const [made, start] = drawFigure(figure);
        grid.append(made);
        begin.push(start);
      }
      const all = element("div", { class: "tables" }, ...tables.map(table));
      section.append(...(figures.length ? [grid] : []), ...(tables.length ? [all] : []));
      document.getElementById("sections").append(section);
    }
    // Once all of them are where they stay, their widths are known.
    for (const start of begin) start();
  }

  function apply() {
    const { off } = selection();
    for (const button of document.querySelectorAll("button[data-key]")) {
      button.setAttribute("aria-pressed", String(!off.has(button.dataset.key)));
    }
    for (const chart of charts) chart.update(off);
  }

  head();
  sections();
  apply();
  const { at } = selection();
  if (at) document.getElementById(at)?.scrollIntoView();

  addEventListener("hashchange", apply);
  addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  // Paper is white, and as wide as it is.
  addEventListener("beforeprint", () => {
    root.dataset.print = "yes";
    for (const chart of charts) chart.resize(300, 220);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.print;
    for (const chart of charts) chart.resize();
  });

  // For those who look at pages by program: what is drawn right now.
  window.quorumbench = {
    charts: () =>
      charts.map(({ figure, index, description, drawn }) => ({
        figure: figure.id,
        index,
        title: description.title,
        series: description.series.map((series, at) => ({ name: figure.legend[series.key].name, drawn: drawn[at] })),
      })),
  };
})();
