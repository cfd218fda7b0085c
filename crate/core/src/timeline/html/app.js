// Draws what the page's data says. Text reaches the document by textContent alone; styles by
// CSSOM; nothing is loaded and nothing is evaluated.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const S = data.strings;
  const $ = (id) => document.getElementById(id);

  // --- Elements

  /** An element: properties by name ("class", "on…" and attributes), then children; strings are text. */
  function el(tag, props, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "style")
        for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
      else if (
        key === "value" ||
        key === "checked" ||
        key === "disabled" ||
        key === "hidden" ||
        key === "tabIndex"
      )
        node[key] = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    append(node, children);
    return node;
  }
  function append(node, children) {
    for (const child of children) {
      if (Array.isArray(child)) append(node, child);
      else if (child !== null && child !== undefined && child !== false) node.append(child);
    }
  }
  /** Text from the target: its direction of writing does not reach what stands around it. */
  const foreign = (text, cls) => el("bdi", { class: cls }, text);
  const body = (id) => $(id).querySelector(".body");
  /** A colour of the theme. */
  const tokens = new Map();
  function css(name) {
    if (!tokens.has(name))
      tokens.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    return tokens.get(name);
  }
  const say = (text) => {
    $("live").textContent = text;
  };
  function later(wait, run) {
    let timer = 0;
    return (...args) => {
      clearTimeout(timer);
      timer = setTimeout(() => run(...args), wait);
    };
  }

  // --- Figures

  const known = (value) => value !== null && value !== undefined;
  const DASH = "–";
  function int(value) {
    if (!known(value)) return DASH;
    // Beyond 2^53 the digits would not be those of the program.
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) return `about ${value.toPrecision(4)}`;
    return Number.isInteger(value)
      ? value.toLocaleString("en-US")
      : value.toLocaleString("en-US", { maximumFractionDigits: 3 });
  }
  /** A whole number in text. */
  const grouped = (text) => text.replace(/\B(?=(\d{3})+$)/g, ",").replace(/^-,?/, "−");
  const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  function bytes(value, digits = 1) {
    if (!known(value)) return DASH;
    if (Math.abs(value) < 1024) return `${int(value)} B`;
    let unit = -1;
    do {
      value /= 1024;
      unit += 1;
    } while (Math.abs(value) >= 1023.95 && unit < UNITS.length - 1);
    return `${value.toFixed(digits)} ${UNITS[unit]}`;
  }
  const overlap = (b) =>
    b.overlap
      ? ` ${bytes(b.overlap)} of them are in more than one block, which contradicts the allocator.`
      : "";
  const exactBytes = (value) =>
    known(value) && Math.abs(value) >= 1024 ? `${bytes(value)} (${int(value)} B)` : bytes(value);
  function percent(share) {
    if (!known(share) || !Number.isFinite(share)) return DASH;
    if (share === 0) return "0 %";
    if (share === 1) return "100 %";
    // What is not all and not nothing must not look so.
    const p = share > 1 ? share * 100 : Math.min(99.9, Math.max(0.1, share * 100));
    return `${p.toFixed(1)} %`;
  }
  /** A length of time with three digits or more. */
  function duration(ns) {
    if (!known(ns)) return DASH;
    const a = Math.abs(ns);
    if (a < 1e3) return `${int(ns)} ns`;
    const digits = (x) => (Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : 2);
    if (a < 1e6) return `${(ns / 1e3).toFixed(digits(ns / 1e3))} µs`;
    if (a < 1e9) return `${(ns / 1e6).toFixed(digits(ns / 1e6))} ms`;
    if (a < 600e9) return `${(ns / 1e9).toFixed(digits(ns / 1e9))} s`;
    const s = Math.floor(a / 1e9),
      h = Math.floor(s / 3600),
      m = Math.floor(s / 60) % 60;
    return h ? `${int(h)} h ${m} min` : `${m} min ${s % 60} s`;
  }
  /** Seconds since the beginning, to the nanosecond. */
  function at(ns) {
    if (!known(ns)) return DASH;
    if (Math.abs(ns) > Number.MAX_SAFE_INTEGER) return `about ${(ns / 1e9).toPrecision(4)} s`;
    const sign = ns < 0 ? "−" : "+",
      a = BigInt(Math.round(Math.abs(ns)));
    const whole = (a / 1000000000n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
    const part = (a % 1000000000n).toString().padStart(9, "0");
    return `${sign}${whole}.${part.slice(0, 3)} ${part.slice(3, 6)} ${part.slice(6)} s`;
  }
  function monotonic(ns) {
    return data.begin === null ? DASH : (BigInt(data.begin) + BigInt(Math.round(ns))).toString();
  }
  function wall(ns) {
    if (!data.wall) return null;
    const total = BigInt(data.wall.begin) + BigInt(Math.round(ns));
    const date = new Date(Number(total / 1000000n));
    if (total < 0n || Number.isNaN(date.getTime())) return null;
    const iso = date.toISOString();
    return `${iso.slice(0, 10)} ${iso.slice(11, 23)}${(total % 1000000n).toString().padStart(6, "0")} UTC`;
  }
  const wallShort = (ns) => {
    const w = wall(ns);
    return w && `${w.slice(0, 23)} UTC`;
  };
  const plural = (n, one, many) => `${int(n)} ${n === 1 ? one : many || one + "s"}`;

  // --- Names

  const stringOf = (index) => (known(index) ? S[index] : null);
  function mapName(index) {
    const map = data.maps[index];
    if (!map) return `map ${index} (not shown)`;
    return (
      stringOf(map.name) ||
      (known(map.type_name) ? `${S[map.type_name]} at ${map.address}` : `map at ${map.address}`)
    );
  }
  /** The directory all files are in, which needs no repeating. */
  const directory = (() => {
    const paths = data.sources.map((source) => source.path).filter((path) => path);
    let shared = paths.length ? paths[0].slice(0, paths[0].lastIndexOf("/") + 1) : "";
    for (const path of paths)
      while (!path.startsWith(shared))
        shared = shared.slice(0, shared.lastIndexOf("/", shared.length - 2) + 1);
    return shared.length > 1 ? shared : "";
  })();
  const inDirectory = (text) => (directory ? text.replaceAll(directory, "") : text);
  function sourceName(index) {
    const source = data.sources[index];
    return source ? inDirectory(source.path) || `live target (${source.kind})` : "a source not listed";
  }
  const holesOf = (map) =>
    known(map.len) && map.capacity > 0 && map.len <= map.capacity ? 1 - map.len / map.capacity : null;

  // --- Theme

  function setTheme(value, keep) {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    if (keep)
      try {
        localStorage.setItem("gomapscope-theme", value);
      } catch {
        /* Not on every file:// page. */
      }
    repaint();
  }
  const painters = [];
  const repaint = () => {
    tokens.clear();
    painters.forEach((paint) => paint());
  };
  {
    let kept = "";
    try {
      kept = localStorage.getItem("gomapscope-theme") || "";
    } catch {
      /* As above. */
    }
    if (kept !== "light" && kept !== "dark") kept = "";
    $("theme").value = kept;
    if (kept) document.documentElement.dataset.theme = kept;
    $("theme").addEventListener("change", (event) => setTheme(event.target.value, true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    let before;
    addEventListener("beforeprint", () => {
      before = document.documentElement.dataset.theme || "";
      setTheme("light");
    });
    addEventListener("afterprint", () => setTheme(before));
  }

  // --- Tables

  /**
   * A table of plain rows: columns are {name, n (a number), text(row), node(row)}; what exceeds the
   * cap is told in the caption.
   */
  function table(caption, columns, rows, cap, total = rows.length) {
    const shown = rows.slice(0, cap);
    if (shown.length < total) caption += ` ${plural(shown.length, "row")} of ${int(total)} shown.`;
    // The caption one sees stands outside of what scrolls.
    return [
      el("p", { class: "caption", "aria-hidden": "true" }, caption),
      el(
        "div",
        { class: "scroll", tabIndex: 0, role: "region", "aria-label": caption },
        el(
          "table",
          { class: "data" },
          el("caption", { class: "hidden" }, caption),
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              columns.map((c) => el("th", { scope: "col", class: c.n && "n" }, c.name)),
            ),
          ),
          el(
            "tbody",
            {},
            shown.map((row) =>
              el(
                "tr",
                {},
                columns.map((c, i) =>
                  el(
                    i === 0 ? "th" : "td",
                    { scope: i === 0 && "row", class: c.n ? "n" : c.nw && "nw" },
                    c.node ? c.node(row) : foreign(c.text(row)),
                  ),
                ),
              ),
            ),
          ),
        ),
      ),
    ];
  }
  /** Filled when it is opened, and again by `fresh` while it is open. */
  function lazyDetails(summary, fill) {
    const inner = el("div");
    const details = el("details", {}, el("summary", {}, summary), inner);
    const fresh = () => {
      if (details.open) inner.replaceChildren(...[fill()].flat(3).filter(Boolean));
    };
    details.addEventListener("toggle", fresh);
    return { details, fresh };
  }

  // --- Head

  function head() {
    const subject = data.subject;
    const program = subject.program || (known(subject.pid) ? `process ${subject.pid}` : "Go maps");
    $("program").replaceChildren(foreign(program.split("/").pop() || program));
    const facts = [];
    const fact = (name, ...value) => facts.push(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
    if (subject.program) fact("Executable", foreign(subject.program, "mono"));
    if (subject.go_version || subject.arch)
      fact("Go", foreign([subject.go_version, subject.arch].filter(Boolean).join(" ")));
    if (known(subject.pid)) fact("Process", `pid ${subject.pid}`);
    if (data.begin !== null) {
      fact("Extent", data.length ? duration(data.length) : "one instant");
      if (data.wall)
        fact(
          "Begin by the wall clock",
          wall(0) || "beyond the calendar",
          el("span", { class: "muted" }, ` ± ${duration(data.wall.error_ns)}`),
        );
      else fact("Begin by the wall clock", "not known: no source ties it to the other clock");
      fact("Begin by CLOCK_MONOTONIC", `${grouped(data.begin)} ns`);
    }
    if (subject.boot_id) fact("Boot", foreign(subject.boot_id, "mono"));
    $("facts").replaceChildren(...facts);

    const totals = [];
    const total = (value, label) =>
      totals.push(el("li", {}, el("b", {}, value), el("span", { class: "label" }, label)));
    const sum = (key) =>
      data.maps.reduce(
        (s, map) => s + (map[key] || 0),
        data.maps_left_out ? data.maps_left_out[key] || 0 : 0,
      );
    const missing = (key) => data.maps.filter((map) => !known(map[key])).length;
    const of = (key) => (missing(key) ? ` (not known of ${int(missing(key))})` : "");
    const maps = data.maps.length + (data.maps_left_out ? data.maps_left_out.maps : 0);
    if (maps) {
      total(int(maps), maps === 1 ? "map" : "maps");
      total(bytes(sum("allocated")), `allocated by them${of("allocated")}`);
      total(bytes(sum("reclaimable")), `a rebuild would give back${of("reclaimable")}`);
    }
    if (data.instants.total) total(int(data.instants.total), data.instants.total === 1 ? "event" : "events");
    const gc = data.lanes.find((lane) => S[lane.name] === "GC");
    if (gc) total(int(gc.total), `collection${gc.total === 1 ? "" : "s"}, ${duration(gc.total_ns)} in all`);
    const stw = data.lanes.find((lane) => S[lane.name] === "STW");
    if (stw) total(duration(stw.longest_ns), "longest stop of the world");
    const refused = data.sources.filter((s) => s.refused).length;
    total(
      int(data.sources_total),
      `source${data.sources_total === 1 ? "" : "s"}${refused ? `, ${refused} of them refused` : ""}`,
    );
    $("totals").replaceChildren(...totals);
    $("jump").replaceChildren(
      ...[...document.querySelectorAll("main > section")].map((section) =>
        el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent),
      ),
    );
  }

  // --- Findings

  function findings() {
    if (!data.findings.length) {
      body("findings").append(
        el(
          "p",
          { class: "empty" },
          "None. What the sources hold shows nothing that would need a sentence; the figures are below.",
        ),
      );
      return;
    }
    body("findings").append(
      el(
        "ol",
        { class: "plain" },
        data.findings.map((finding) =>
          el(
            "li",
            { class: "finding" },
            el(
              "p",
              {},
              finding.proved
                ? el("span", { class: "badge proved", title: "Follows from the facts below." }, "proved")
                : el(
                    "span",
                    {
                      class: "badge loose",
                      title: "The facts below happened together; that one caused the other is not shown.",
                    },
                    "goes together",
                  ),
              foreign(inDirectory(finding.text)),
            ),
            finding.evidence.length
              ? el(
                  "ul",
                  { class: "evidence" },
                  finding.evidence.map((evidence) =>
                    el(
                      "li",
                      {},
                      foreign(inDirectory(evidence.text)),
                      " ",
                      known(evidence.t) &&
                        el(
                          "button",
                          { class: "link", title: wall(evidence.t), onclick: () => show(evidence.t) },
                          `at ${at(evidence.t)}`,
                        ),
                      " ",
                      foreign(sourceName(evidence.source), "small mono"),
                    ),
                  ),
                )
              : null,
            finding.evidence_total > finding.evidence.length &&
              el(
                "p",
                { class: "muted small" },
                `${int(finding.evidence_total - finding.evidence.length)} more facts are not listed.`,
              ),
          ),
        ),
      ),
    );
    if (data.findings_total > data.findings.length)
      body("findings").append(
        el(
          "p",
          { class: "caption" },
          `${int(data.findings_total - data.findings.length)} more findings are not listed.`,
        ),
      );
  }

  // --- Timeline

  const END = data.length;
  const PAD = END > 0 ? 0 : 5e5;
  const WHOLE = [-PAD, END + PAD];
  let view = WHOLE.slice();
  let pin = null;
  const COLOURS = 8;
  const chosen = new Map();
  const tl = { charts: [], host: null, tables: [], range: null, hover: null, onlyChosen: false };

  /** Series as absolute times; the spans' extremes at their two points. */
  const series = data.series.map((row) => {
    const t = new Float64Array(row.t.length);
    let sum = 0;
    for (let i = 0; i < t.length; i++) t[i] = sum += row.t[i];
    const spans = new Map(row.spans.map((span) => [span[0], span]));
    return { ...row, t, spans };
  });
  /** The last index whose time is not after `t`, or -1. */
  function before(times, t) {
    let low = 0,
      high = times.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (times[mid] <= t) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  }
  /** The part of a sorted list between two values. */
  const within = (list, low, high) => list.slice(before(list, low - 1) + 1, before(list, high) + 1);
  const colour = (map) => (chosen.has(map) ? css(`--c${chosen.get(map)}`) : null);

  const FORMATS = {
    count: {
      text: (v) => int(v),
      incrs: steps(10, [1, 2, 5], 0, 16),
      axis: (v) =>
        Math.abs(v) >= 1e9
          ? `${+(v / 1e9).toFixed(2)} G`
          : Math.abs(v) >= 1e6
            ? `${+(v / 1e6).toFixed(2)} M`
            : int(v),
    },
    bytes: {
      text: exactBytes,
      incrs: Array.from({ length: 60 }, (_, i) => 2 ** i),
      axis: (v) => bytes(v).replace(".0 ", " "),
    },
    share: {
      text: (v) => percent(v),
      incrs: [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1],
      axis: (v) => `${Math.round(v * 100)} %`,
    },
  };
  function steps(base, parts, from, to) {
    const list = [];
    for (let e = from; e <= to; e++) for (const p of parts) list.push(p * base ** e);
    return list;
  }
  const X_INCRS = [
    ...steps(10, [1, 2, 5], 0, 9),
    1e10,
    2e10,
    3e10,
    6e10,
    12e10,
    3e11,
    6e11,
    12e11,
    18e11,
    36e11,
    72e11,
    216e11,
    432e11,
    864e11,
    ...steps(10, [1, 2, 5], 14, 19),
  ];
  function xLabel(ns, incr) {
    const [size, unit] =
      incr >= 1e9
        ? [1e9, "s"]
        : incr >= 1e6 && END < 1e9
          ? [1e6, "ms"]
          : incr >= 1e6
            ? [1e9, "s"]
            : incr >= 1e3 && END < 1e7
              ? [1e3, "µs"]
              : incr >= 1e3
                ? [1e6, "ms"]
                : [1e3, "µs"];
    if (incr >= 6e10) {
      const s = Math.round(ns / 1e9),
        sign = s < 0 ? "−" : "",
        a = Math.abs(s);
      return `${sign}${a >= 3600 ? `${Math.floor(a / 3600)}:${String(Math.floor(a / 60) % 60).padStart(2, "0")} h` : `${Math.floor(a / 60)} min`}`;
    }
    const digits = Math.max(0, Math.ceil(Math.log10(size) - Math.log10(incr) - 1e-9));
    return `${(ns / size).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
  }

  const PANELS = [
    {
      id: "fill",
      title: "Entries and slots",
      unit: "count",
      key: [
        ["entries", false],
        ["slots", true],
      ],
      kinds: [
        ["len", false],
        ["capacity", true],
      ],
      maps: true,
    },
    { id: "storage", title: "Storage of each map", unit: "bytes", kinds: [["storage", false]], maps: true },
    {
      id: "holes",
      title: "Hole density: slots that are not live",
      unit: "share",
      kinds: [["hole density", false]],
      maps: true,
      top: 1,
    },
    {
      id: "heap",
      title: "Heap of the process",
      unit: "bytes",
      kinds: [
        ["heap live", false, 0],
        ["heap goal", true, 7],
        ["map storage", false, 2],
        ["heap in use (sampled)", false, 1],
      ],
      maps: false,
    },
  ];
  const on = new Set(PANELS.map((panel) => panel.id));

  function rowsOf(panel) {
    const rows = [];
    for (const [kind, dashed, fixed] of panel.kinds) {
      series.forEach((one, index) => {
        if (one.kind !== kind || !one.t.length) return;
        if (panel.maps ? !chosen.has(one.map) : one.map !== null) return;
        const slot = panel.maps ? chosen.get(one.map) : fixed;
        const many = series.filter((other) => other.kind === kind && other.map === one.map).length > 1;
        const name = (panel.maps ? mapName(one.map) : kind) + (many ? ` (${sourceName(one.source)})` : "");
        rows.push({ series: one, index, dashed, slot, name, kind });
      });
    }
    return rows;
  }

  /** The chosen series on one axis of times: each value holds until the next. */
  function aligned(rows) {
    const size = rows.reduce((n, row) => n + row.series.t.length, 0);
    let x = new Float64Array(size),
      n = 0;
    for (const row of rows) {
      x.set(row.series.t, n);
      n += row.series.t.length;
    }
    if (rows.length > 1) x.sort();
    const out = [Array.from(x)];
    for (const row of rows) {
      const { t, v, spans } = row.series;
      const line = new Array(size).fill(null),
        low = spans.size ? new Array(size).fill(null) : null,
        high = low && new Array(size).fill(null);
      row.own = [];
      let at = -1,
        min = 0,
        max = 0;
      for (let i = 0; i < size; i++) {
        const fresh = at + 1 < t.length && t[at + 1] <= x[i];
        if (fresh) {
          at += 1;
          row.own.push(i);
          const span = spans.get(at);
          [min, max] = span ? [span[2], span[3]] : [v[at], v[at]];
        }
        // Behind its last point nothing is known of it.
        if (at < 0 || (at === t.length - 1 && x[i] > t[at])) continue;
        line[i] = v[at];
        if (low) {
          low[i] = min;
          high[i] = max;
        }
      }
      out.push(line);
      if (low) out.push(high, low);
      row.banded = !!low;
    }
    return out;
  }

  /** The intervals of a lane in view, found once for all charts. */
  function visible(lane) {
    const key = `${view[0]} ${view[1]}`;
    if (lane.seenIn !== key) {
      lane.seenIn = key;
      lane.seen = lane.kept.filter(([t, d]) => t <= view[1] && t + d >= view[0]);
    }
    return lane.seen;
  }
  function bands(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [name, token] of [
      ["GC", "--gc"],
      ["STW", "--stw"],
    ]) {
      const lane = data.lanes.find((one) => S[one.name] === name);
      if (!lane) continue;
      ctx.fillStyle = css(token);
      const seen = visible(lane);
      // Slivers of many would look like a wall.
      const least = seen.length > u.over.clientWidth / 12 ? 0.7 * devicePixelRatio : 0;
      const scale = bbox.width / (view[1] - view[0]);
      for (const [t, d] of seen) {
        const width = d * scale;
        if (width < least) continue;
        ctx.fillRect(bbox.left + (t - view[0]) * scale, bbox.top, Math.max(width, 1), bbox.height);
      }
    }
    ctx.restore();
  }
  function pinned(u) {
    if (pin === null || pin < view[0] || pin > view[1]) return;
    const { ctx, bbox } = u,
      x = Math.round(u.valToPos(pin, "x", true)) + 0.5;
    ctx.save();
    ctx.strokeStyle = css("--pin");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const narrow = () => innerWidth < 620;
  /** What a chart is, for who cannot see it; its figures are in the tables below. */
  function describe(u, text) {
    const canvas = u.root.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", text);
  }
  function common(height, hover) {
    return {
      width: Math.max(240, tl.host.clientWidth),
      height,
      legend: { show: false },
      padding: [6, 18, 0, 0],
      cursor: {
        y: false,
        // A dot would stand at the nearest point, not at the cursor.
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        sync: {
          key: "gomapscope",
          setSeries: false,
          scales: ["x", null],
          filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
        },
        bind: {
          dblclick: () => () => {
            setView(...WHOLE);
          },
        },
      },
      scales: { x: { time: false, auto: false, range: () => view } },
      hooks: {
        drawClear: [bands],
        draw: [pinned],
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            if (width > 3) setView(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [
          (u) => {
            if (tl.hover === u) hover(u);
          },
        ],
        ready: [
          (u) => {
            u.over.addEventListener("mouseenter", () => {
              tl.hover = u;
            });
            u.over.addEventListener("mouseleave", () => {
              tl.hover = null;
              hideTip();
            });
            u.over.addEventListener(
              "wheel",
              (event) => {
                if (!event.ctrlKey && !event.shiftKey && !event.altKey) return;
                event.preventDefault();
                const middle = u.posToVal(event.clientX - u.over.getBoundingClientRect().left, "x");
                zoom((event.deltaY || event.deltaX) > 0 ? 1.35 : 1 / 1.35, middle);
              },
              { passive: false },
            );
          },
        ],
      },
    };
  }
  const xAxis = () => ({
    stroke: () => css("--muted"),
    grid: { stroke: () => css("--grid"), width: 1 },
    ticks: { show: false },
    font: FONT,
    size: 24,
    gap: 3,
    space: narrow() ? 70 : 90,
    incrs: X_INCRS,
    values: (_, splits, __, ___, incr) => splits.map((v) => xLabel(v, incr)),
  });
  const yAxis = (format) => ({
    stroke: () => css("--muted"),
    grid: { stroke: () => css("--grid"), width: 1 },
    ticks: { show: false },
    font: FONT,
    size: narrow() ? 56 : 76,
    gap: 5,
    space: 26,
    incrs: format.incrs,
    values: (_, splits) => splits.map(format.axis),
  });

  function lineChart(panel) {
    const rows = rowsOf(panel);
    if (!rows.length) return;
    const format = FORMATS[panel.unit];
    const all = aligned(rows);
    const config = [{}],
      bandRows = [];
    for (const row of rows) {
      const stroke = () => css(`--c${row.slot}`);
      config.push({
        label: row.name,
        stroke,
        width: row.dashed ? 1.25 : 1.75,
        dash: row.dashed ? [5, 4] : row.slot > 3 && panel.maps ? [10, 3] : undefined,
        paths: uPlot.paths.stepped({ align: 1 }),
        points: {
          size: 5,
          stroke,
          fill: stroke,
          // Single points are marked where they can be told apart, and where no line shows them.
          show: (u, si, i0, i1) =>
            row.own.length === 1 || (!row.dashed && within(row.own, i0, i1).length * 14 < u.over.clientWidth),
          filter: (u, si, shown) => (shown ? within(row.own, ...u.series[0].idxs) : null),
        },
      });
      if (row.banded) {
        const high = config.length;
        const hidden = {
          stroke: "transparent",
          width: 0,
          points: { show: false },
          paths: uPlot.paths.stepped({ align: 1 }),
        };
        config.push({ ...hidden }, { ...hidden });
        bandRows.push({ series: [high, high + 1], fill: () => css(`--c${row.slot}`) + "44" });
      }
    }
    const base = common(panel.id === "fill" ? 190 : 140, (u) =>
      tipAt(u, (time) => figuresAt(rows, format, time)),
    );
    const u = new uPlot(
      {
        ...base,
        scales: {
          ...base.scales,
          y: {
            range: (_, low, high) =>
              known(high)
                ? [Math.min(0, low), panel.top || (high > 0 ? high * 1.06 : 1)]
                : [0, panel.top || 1],
          },
        },
        axes: [xAxis(), yAxis(format)],
        series: config,
        bands: bandRows,
      },
      all,
      el("div"),
    );
    const keys = panel.maps
      ? (panel.key || []).map(([name, dashed]) =>
          el("span", { class: "key" }, el("span", { class: `swatch${dashed ? " dashed" : ""}` }), name),
        )
      : rows.map((row) =>
          el(
            "span",
            { class: "key" },
            el("span", {
              class: `swatch${row.dashed ? " dashed" : ""}`,
              style: { color: `var(--c${row.slot})` },
            }),
            foreign(row.name),
          ),
        );
    const joined = rows.reduce(
      (n, row) => n + (row.series.points > row.series.t.length ? row.series.points : 0),
      0,
    );
    tl.host.append(
      el(
        "div",
        { class: "chart" },
        el(
          "div",
          { class: "chart-head" },
          el("h3", {}, panel.title),
          keys,
          joined > 0 &&
            el(
              "span",
              {
                class: "muted",
                title:
                  "Neighbouring points are joined: the line has their first and last value, the band reaches from the least to the greatest.",
              },
              `${int(joined)} points as lines with bands from least to greatest`,
            ),
        ),
        u.root,
      ),
    );
    describe(
      u,
      `${panel.title}: ${rows.map((row) => `${row.name}, ${row.kind}`).join("; ")}. As a table below.`,
    );
    tl.charts.push(u);
  }

  /** What each series says at a time. */
  function figuresAt(rows, format, time) {
    return rows.map((row) => {
      const { t, v, spans } = row.series;
      const i = before(t, time);
      const label = [
        el("span", {
          class: `swatch${row.dashed ? " dashed" : ""}`,
          style: { color: `var(--c${row.slot})` },
        }),
        " ",
        foreign(row.name),
        row.dashed && row.kind === "capacity" ? " (slots)" : "",
      ];
      if (i < 0) return [label, "not known yet"];
      const span = spans.get(i);
      if (span && i + 1 < t.length && time < t[i + 1])
        return [
          label,
          span[2] === span[3]
            ? format.text(v[i])
            : `${format.text(span[2])} to ${format.text(span[3])} (${plural(span[1], "point")})`,
        ];
      if (i === t.length - 1 && time > t[i] + (view[1] - view[0]) / 200)
        return [label, `last ${format.text(v[i])} at ${at(t[i])}`];
      return [label, format.text(v[i])];
    });
  }

  // Lanes: what lasted, and events by their op.
  const LABEL = 15,
    LEVEL = 8;
  const GROWS = new Set(["grow", "grow-same-size", "split", "directory", "table"]);
  /** Intervals that overlap go below each other, at most four deep. */
  for (const lane of data.lanes) {
    const ends = [];
    lane.level = lane.kept.map(([t, d]) => {
      let level = ends.findIndex((end) => end <= t);
      if (level < 0) level = ends.length < 4 ? ends.length : 3;
      ends[level] = Math.max(ends[level] || 0, t + d);
      return level;
    });
    lane.levels = Math.max(1, ends.length);
  }
  data.instants.ops.forEach((op, index) => {
    op.rows = data.instants.kept.filter((row) => row[2] === index);
  });

  function laneRows() {
    const rows = [];
    let y = 0;
    for (const lane of data.lanes) {
      const height = LABEL + lane.levels * LEVEL + 4;
      rows.push({
        lane,
        y,
        height,
        label: `${inDirectory(S[lane.name])}   ${!lane.total_ns ? int(lane.total) : lane.total === 1 ? duration(lane.total_ns) : `${int(lane.total)}, ${duration(lane.total_ns)} in all, longest ${duration(lane.longest_ns)}`}`,
      });
      y += height;
    }
    for (const op of data.instants.ops) {
      if (!op.total) continue;
      const rest = op.total - op.kept;
      rows.push({
        op,
        y,
        height: 36,
        label: `${op.op}   ${int(op.total)}${op.uncertain ? `, ${int(op.uncertain)} at an uncertain time` : ""}${rest ? `; ${int(op.kept)} drawn one by one, columns count all` : ""}`,
      });
      y += 36;
    }
    return { rows, height: y };
  }

  function laneChart() {
    const { rows, height } = laneRows();
    if (!rows.length) return;
    const draw = (u) => {
      const { ctx, bbox } = u,
        r = devicePixelRatio,
        X = (t) => u.valToPos(t, "x", true);
      const ink = css("--ink"),
        muted = css("--muted"),
        mark = css("--mark"),
        line = css("--grid");
      const tones = { GC: css("--c0"), STW: css("--c1") },
        task = css("--c2"),
        profile = css("--c3");
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.textBaseline = "alphabetic";
      ctx.textAlign = "left";
      for (const row of rows) {
        const top = bbox.top + row.y * r;
        ctx.fillStyle = line;
        ctx.fillRect(bbox.left, top, bbox.width, r);
        if (row.lane) {
          const { lane } = row,
            name = S[lane.name];
          const tone = tones[name] || (/(^| )profile /.test(name) ? profile : task);
          const y0 = top + LABEL * r;
          const fine = lane.bins.length > 0 && (view[1] - view[0]) / lane.bin_ns > bbox.width / r / 12;
          ctx.fillStyle = tone;
          ctx.globalAlpha = fine ? 0.6 : 0.22;
          for (const [bin, , busy] of lane.bins) {
            const a = X(bin * lane.bin_ns),
              b = X((bin + 1) * lane.bin_ns);
            if (b < bbox.left || a > bbox.left + bbox.width) continue;
            const share = Math.min(1, busy / lane.bin_ns);
            const h = Math.max(r, share * lane.levels * LEVEL * r);
            ctx.fillRect(a, y0 + lane.levels * LEVEL * r - h, Math.max(b - a, r), h);
          }
          lane.kept.forEach(([t, d, , whole], i) => {
            if (t > view[1] || t + d < view[0]) return;
            const a = X(t),
              b = X(t + d);
            // Widened to be seen, many slivers would look like one long bar.
            if (fine && b - a < 1.5 * r) return;
            ctx.globalAlpha = whole ? 0.85 : 0.45;
            ctx.fillRect(
              a,
              y0 + lane.level[i] * LEVEL * r,
              Math.max(b - a - (b - a > 4 * r ? 1 : 0), 1.5 * r),
              (LEVEL - 2) * r,
            );
          });
          ctx.globalAlpha = 1;
        } else {
          const { op } = row,
            middle = top + 25 * r;
          const most = op.bins.reduce((m, b) => Math.max(m, b[1]), 1);
          ctx.fillStyle = mark;
          ctx.globalAlpha = 0.4;
          for (const [bin, count] of op.bins) {
            const a = X(bin * data.instants.bin_ns),
              b = X((bin + 1) * data.instants.bin_ns);
            if (b < bbox.left || a > bbox.left + bbox.width) continue;
            const h = Math.max(1.5, 18 * Math.sqrt(count / most)) * r;
            ctx.fillRect(a, top + 34 * r - h, Math.max(b - a, r), h);
          }
          ctx.globalAlpha = 1;
          const here = op.rows.filter(([t, d]) => t <= view[1] && t + d >= view[0]);
          // Where columns tell all, marks are added only as far as they can be told apart.
          for (const event of op.bins.length && here.length > bbox.width / r / 5 ? [] : here) {
            const [t, d, , map] = event;
            if (t > view[1] || t + d < view[0]) continue;
            if (tl.onlyChosen && !chosen.has(map)) continue;
            const tone = colour(map) || mark,
              x = X(t);
            ctx.fillStyle = ctx.strokeStyle = tone;
            if (d > 0) {
              const end = X(t + d);
              ctx.lineWidth = 1.5 * r;
              ctx.globalAlpha = 0.8;
              ctx.beginPath();
              ctx.moveTo(x, middle);
              ctx.lineTo(end, middle);
              ctx.moveTo(x, middle - 5 * r);
              ctx.lineTo(x, middle + 5 * r);
              ctx.moveTo(end, middle - 5 * r);
              ctx.lineTo(end, middle + 5 * r);
              ctx.stroke();
              ctx.globalAlpha = 1;
            } else if (GROWS.has(op.op)) {
              ctx.beginPath();
              ctx.moveTo(x, middle - 6 * r);
              ctx.lineTo(x + 4 * r, middle + 6 * r);
              ctx.lineTo(x - 4 * r, middle + 6 * r);
              ctx.fill();
            } else if (op.op === "log") {
              ctx.beginPath();
              ctx.arc(x, middle, 4 * r, 0, 7);
              ctx.fill();
            } else {
              ctx.fillRect(x - r, middle - 7 * r, 2 * r, 14 * r);
            }
          }
        }
        ctx.font = FONT.replace("11px", `${11 * r}px`);
        ctx.lineWidth = 3 * r;
        ctx.strokeStyle = css("--panel");
        ctx.lineJoin = "round";
        const cut = row.label.indexOf("   ");
        const title = clip(ctx, row.label.slice(0, cut), bbox.width * 0.5),
          rest = row.label.slice(cut + 3);
        const x = bbox.left + 4 * r,
          y = top + 12 * r;
        ctx.strokeText(title, x, y);
        ctx.fillStyle = ink;
        ctx.fillText(title, x, y);
        const after = x + ctx.measureText(title).width + 9 * r;
        const tail = clip(ctx, rest, bbox.left + bbox.width - after);
        ctx.strokeText(tail, after, y);
        ctx.fillStyle = muted;
        ctx.fillText(tail, after, y);
      }
      ctx.restore();
    };
    const base = common(height + 34, (u) => tipAt(u, (time) => laneTip(u, rows, time)));
    const u = new uPlot(
      {
        ...base,
        scales: { ...base.scales, y: { range: () => [0, 1] } },
        axes: [xAxis(), { ...yAxis(FORMATS.count), values: () => [], grid: { show: false } }],
        series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
        hooks: { ...base.hooks, draw: [draw, pinned], drawClear: [] },
      },
      [
        [WHOLE[0], WHOLE[1]],
        [0, 0],
      ],
      el("div"),
    );
    const legend = el(
      "div",
      { class: "legend" },
      el("span", {}, "▲ growth"),
      el("span", {}, "❘ other event"),
      el("span", {}, "● log"),
      el("span", {}, "├─┤ some time between"),
      el("span", {}, "colours: the maps chosen above; grey: others"),
      el("span", {}, "pale bars: not seen to begin or to end"),
    );
    tl.host.append(
      el(
        "div",
        { class: "chart" },
        el("div", { class: "chart-head" }, el("h3", {}, "Collector, tasks, events")),
        u.root,
        legend,
      ),
    );
    describe(
      u,
      `Lanes over time: ${rows.map((row) => row.label.replace(/ {3}/, ", ")).join("; ")}. As tables below.`,
    );
    tl.charts.push(u);
  }
  /** A text that fits. */
  function clip(ctx, text, width) {
    if (ctx.measureText(text).width <= width) return text;
    let low = 0,
      high = text.length;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (ctx.measureText(`${text.slice(0, mid)}…`).width <= width) low = mid;
      else high = mid - 1;
    }
    return low ? `${text.slice(0, low)}…` : "";
  }
  function laneTip(u, rows, time) {
    const y = u.cursor.top,
      near = ((view[1] - view[0]) / Math.max(1, u.over.clientWidth)) * 6;
    const row = rows.find((one) => y >= one.y && y < one.y + one.height);
    if (!row) return [];
    if (row.lane) {
      const level = Math.floor((y - row.y - LABEL) / LEVEL);
      const found = row.lane.kept
        .map((one, i) => [one, row.lane.level[i]])
        .filter(([[t, d]]) => time >= t - near && time <= t + d + near)
        .sort((a, b) => Math.abs(a[1] - level) - Math.abs(b[1] - level) || a[0][1] - b[0][1])
        .slice(0, 4);
      const out = found.map(([[t, d, name, whole, goid, source]]) => [
        [foreign(S[name]), known(goid) ? ` · goroutine ${goid}` : ""],
        `${duration(d)} from ${at(t)}${whole ? "" : " (edge of the record)"} · ${sourceName(source)}`,
      ]);
      const bin = row.lane.bins.find((b) => b[0] === Math.floor(time / row.lane.bin_ns));
      if (bin)
        out.push([
          `all within ${duration(row.lane.bin_ns)} here`,
          `${plural(bin[1], "begins", "begin")}, ${duration(bin[2])} taken`,
        ]);
      return out;
    }
    const found = row.op.rows
      .filter(
        ([t, d, , map]) => time >= t - near && time <= t + d + near && (!tl.onlyChosen || chosen.has(map)),
      )
      .sort((a, b) => a[1] - b[1] || Math.abs(a[0] - time) - Math.abs(b[0] - time));
    const out = found.slice(0, 3).flatMap((event) => eventLines(event));
    if (found.length > 3) out.push([`${int(found.length - 3)} more here`, ""]);
    const bin = row.op.bins.find((b) => b[0] === Math.floor(time / data.instants.bin_ns));
    if (bin) out.push([`all ${row.op.op} within ${duration(data.instants.bin_ns)} here`, int(bin[1])]);
    return out;
  }
  function eventLines([t, d, op, map, text, goid, stack, len, oldCapacity, capacity, size, source]) {
    const lines = [
      [[el("b", {}, data.instants.ops[op].op), known(map) ? [" ", foreign(mapName(map))] : ""], ""],
      ["when", d > 0 ? `between ${at(t)} and ${at(t + d)}` : at(t)],
    ];
    if (known(text)) lines.push([foreign(inDirectory(S[text])), ""]);
    if (known(oldCapacity) || known(capacity))
      lines.push([
        "slots",
        known(oldCapacity) && known(capacity)
          ? `${int(oldCapacity)} → ${int(capacity)}`
          : int(known(capacity) ? capacity : oldCapacity),
      ]);
    if (known(len)) lines.push(["entries", int(len)]);
    if (known(size)) lines.push(["bytes", exactBytes(size)]);
    if (known(goid)) lines.push(["goroutine", String(goid)]);
    if (known(stack) && data.stacks[stack])
      lines.push([
        data.stacks[stack].slice(0, 5).map((frame) => el("div", { class: "mono" }, foreign(S[frame]))),
        "",
      ]);
    lines.push(["source", foreign(sourceName(source))]);
    return lines;
  }

  function tipAt(u, lines) {
    const { left, top } = u.cursor;
    if (!known(left) || left < 0) {
      hideTip();
      return;
    }
    const time = u.posToVal(left, "x"),
      box = u.over.getBoundingClientRect();
    showTip(box.left + left, box.top + top, time, lines(time));
  }
  function showTip(x, y, time, lines) {
    const tip = $("tip");
    tip.replaceChildren(
      el("div", { class: "t" }, known(time) && at(time)),
      el("div", { class: "muted" }, known(time) && wall(time)),
      lines.length
        ? el(
            "table",
            {},
            lines.map(([name, value]) =>
              el(
                "tr",
                {},
                value === "" ? el("td", { colspan: 2 }, name) : [el("td", {}, name), el("td", {}, value)],
              ),
            ),
          )
        : "",
    );
    tip.hidden = false;
    const w = tip.offsetWidth,
      h = tip.offsetHeight;
    tip.style.left = `${Math.max(8, x + 16 + w > innerWidth - 8 ? x - w - 16 : x + 16)}px`;
    tip.style.top = `${Math.max(8, Math.min(innerHeight - h - 8, y + 14))}px`;
  }
  const hideTip = () => {
    $("tip").hidden = true;
  };

  /** The part of time that is shown. */
  function setView(a, b, quiet) {
    const whole = WHOLE[1] - WHOLE[0];
    let width = Math.min(whole, Math.max(b - a, Math.min(200, whole)));
    if (!(width > 0)) width = whole;
    let low = Math.max(WHOLE[0], Math.min(a, WHOLE[1] - width));
    view = [low, low + width];
    // One pass for each chart: its x scale asks `view`.
    for (const u of tl.charts) u.setScale("x", { min: view[0], max: view[1] });
    rangeText();
    refreshTables();
    if (!quiet) saySoon();
  }
  const saySoon = later(400, () =>
    say(`Shown: ${at(view[0])} to ${at(view[1])}, ${duration(view[1] - view[0])}.`),
  );
  const refreshTables = later(250, () => tl.tables.forEach((one) => one.fresh()));
  /** A time with the digits that tell times in view apart. */
  function atWithin(ns) {
    const digits = Math.max(1, Math.min(9, Math.ceil(11 - Math.log10(Math.max(1, view[1] - view[0])))));
    return `${ns < 0 ? "−" : "+"}${(Math.abs(ns) / 1e9).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })} s`;
  }
  function rangeText() {
    const all = view[0] <= WHOLE[0] && view[1] >= WHOLE[1];
    tl.range.textContent = all
      ? END
        ? `${duration(END)} in all`
        : "one instant"
      : `${atWithin(view[0])} to ${atWithin(view[1])} · ${duration(view[1] - view[0])}${wallShort(view[0]) ? ` · from ${wallShort(view[0])}` : ""}`;
    tl.whole.disabled = all;
  }
  function zoom(factor, middle = (view[0] + view[1]) / 2) {
    setView(middle - (middle - view[0]) * factor, middle + (view[1] - middle) * factor);
  }
  function pan(share) {
    const by = (view[1] - view[0]) * share;
    setView(view[0] + by, view[1] + by);
  }
  /** Moves the timeline to a time and marks it. */
  function show(t) {
    pin = Math.max(0, Math.min(t, END));
    const width = Math.min(WHOLE[1] - WHOLE[0], Math.max((WHOLE[1] - WHOLE[0]) / 12, 1000));
    setView(pin - width / 2, pin + width / 2, true);
    $("timeline").scrollIntoView({ block: "start" });
    $("charts").focus({ preventScroll: true });
    say(`Timeline at ${at(pin)}.`);
    tl.unpin.hidden = false;
  }
  /** The next or previous event kept, of those shown. */
  function stepEvent(direction) {
    const events = data.instants.kept.filter((e) => !tl.onlyChosen || chosen.has(e[3]));
    if (!events.length) return;
    const from = pin === null ? (direction > 0 ? view[0] - 1 : view[1] + 1) : pin;
    const sorted = direction > 0 ? events.find((e) => e[0] > from) : events.filter((e) => e[0] < from).pop();
    if (!sorted) {
      say(direction > 0 ? "No later event." : "No earlier event.");
      return;
    }
    pin = sorted[0];
    tl.unpin.hidden = false;
    const width = view[1] - view[0];
    if (pin < view[0] || pin > view[1]) setView(pin - width / 2, pin + width / 2, true);
    else tl.charts.forEach((u) => u.redraw(false, false));
    const u = tl.charts[tl.charts.length - 1];
    u.root.scrollIntoView({ block: "nearest", behavior: "instant" });
    const box = u.over.getBoundingClientRect();
    showTip(
      box.left + u.valToPos(pin, "x"),
      Math.min(Math.max(box.top, 80), innerHeight - 200),
      pin,
      eventLines(sorted),
    );
    say(
      `${data.instants.ops[sorted[2]].op} ${known(sorted[3]) ? mapName(sorted[3]) : ""} at ${at(pin)}${known(sorted[9]) ? `, slots ${int(sorted[9])}` : ""}${known(sorted[4]) ? `, ${S[sorted[4]]}` : ""}`,
    );
  }
  function keys(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const act = {
      ArrowLeft: () => pan(event.shiftKey ? -0.5 : -0.12),
      ArrowRight: () => pan(event.shiftKey ? 0.5 : 0.12),
      ArrowUp: () => zoom(1 / 1.5),
      ArrowDown: () => zoom(1.5),
      "+": () => zoom(1 / 1.5),
      "=": () => zoom(1 / 1.5),
      "-": () => zoom(1.5),
      Home: () => setView(WHOLE[0], WHOLE[0] + view[1] - view[0]),
      End: () => setView(WHOLE[1] - (view[1] - view[0]), WHOLE[1]),
      0: () => setView(...WHOLE),
      ".": () => stepEvent(1),
      ",": () => stepEvent(-1),
      Escape: () => {
        pin = null;
        tl.unpin.hidden = true;
        hideTip();
        tl.charts.forEach((u) => u.redraw(false, false));
      },
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  function choose(map, want = !chosen.has(map)) {
    if (want === chosen.has(map)) return;
    if (!want) chosen.delete(map);
    else {
      const used = new Set(chosen.values());
      let slot = 0;
      while (slot < COLOURS && used.has(slot)) slot += 1;
      if (slot === COLOURS) {
        say(`${COLOURS} maps at most are drawn; take one away first.`);
        return;
      }
      chosen.set(map, slot);
    }
  }
  const withSeries = new Set(series.filter((one) => one.map !== null && one.t.length).map((one) => one.map));

  function timeline() {
    const host = body("timeline");
    const nothing = !series.some((one) => one.t.length) && !data.lanes.length && !data.instants.total;
    if (nothing) {
      host.append(
        el(
          "p",
          { class: "empty" },
          data.begin === null
            ? "Nothing that has a time was found in the sources: there is no timeline."
            : "The sources hold nothing that happened or changed over time: there is no timeline.",
        ),
      );
      return;
    }
    [...withSeries]
      .sort((a, b) => a - b)
      .slice(0, 3)
      .forEach((map) => choose(map, true));
    const button = (text, title, run) => el("button", { title, "aria-label": title, onclick: run }, text);
    tl.range = el("span", { class: "range" });
    tl.whole = button("Whole time", "Show the whole time (0)", () => setView(...WHOLE));
    tl.unpin = el(
      "button",
      {
        hidden: true,
        onclick: () => {
          pin = null;
          tl.unpin.hidden = true;
          tl.charts.forEach((u) => u.redraw(false, false));
        },
      },
      "Remove the marker",
    );
    const toggles = PANELS.filter((panel) =>
      series.some((one) => one.t.length && panel.kinds.some(([kind]) => kind === one.kind)),
    ).map((panel) =>
      el(
        "button",
        {
          "aria-pressed": "true",
          onclick: (event) => {
            if (on.has(panel.id)) on.delete(panel.id);
            else on.add(panel.id);
            event.target.setAttribute("aria-pressed", String(on.has(panel.id)));
            build();
          },
        },
        panel.title.split(":")[0],
      ),
    );
    tl.chips = el("div", { class: "chips" });
    tl.host = el("div", {
      id: "charts",
      tabIndex: 0,
      role: "group",
      "aria-label":
        "Timeline. Left and right arrows move, up and down zoom, 0 shows all, full stop and comma step through events.",
      onkeydown: keys,
    });
    tl.tables = [
      lazyDetails("Figures, as a table", figureTable),
      lazyDetails("What lasted, as a table", intervalTable),
      lazyDetails("Events, as a table", eventTable),
    ];
    append(host, [
      el(
        "div",
        { class: "bar" },
        el(
          "span",
          { class: "group" },
          button("−", "Zoom out (down arrow)", () => zoom(1.6)),
          button("+", "Zoom in (up arrow)", () => zoom(1 / 1.6)),
          button("←", "Earlier (left arrow)", () => pan(-0.25)),
          button("→", "Later (right arrow)", () => pan(0.25)),
        ),
        tl.whole,
        tl.unpin,
        tl.range,
      ),
      toggles.length > 1
        ? el("div", { class: "chips choice" }, el("span", { class: "muted small" }, "Charts:"), toggles)
        : null,
      tl.chips,
      tl.host,
      el(
        "p",
        { class: "caption" },
        "Drag over a chart to zoom, Ctrl or Shift with the wheel too; double click shows all. On the keyboard: ← → move, ↑ ↓ zoom, 0 all, , and . step through events. A line holds the last value known until the next one. Shaded: collections (blue) and stopped worlds (orange).",
      ),
      data.lanes_left_out &&
        el(
          "p",
          { class: "caption" },
          `${plural(data.lanes_left_out.lanes, "lane")} with ${plural(data.lanes_left_out.intervals, "interval")} left out.`,
        ),
      data.series_total > data.series.length &&
        el("p", { class: "caption" }, `${int(data.series_total - data.series.length)} series left out.`),
      tl.tables.map((one) => one.details),
    ]);
    build();
    rangeText();
    let width = tl.host.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(tl.host.clientWidth - width) < 2) return;
      width = tl.host.clientWidth;
      resize();
    }).observe(tl.host);
    painters.push(() => tl.charts.forEach((u) => u.redraw(false, true)));
  }
  const resize = later(60, build);
  function build() {
    if (!tl.host) return;
    tl.charts.forEach((u) => u.destroy());
    tl.charts = [];
    tl.hover = null;
    tl.host.replaceChildren();
    chips();
    for (const panel of PANELS) if (on.has(panel.id)) lineChart(panel);
    laneChart();
    refreshTables();
  }
  function chips() {
    const spare = [...withSeries].filter((map) => !chosen.has(map)).sort((a, b) => a - b);
    tl.chips.replaceChildren(
      ...[
        el(
          "span",
          { class: "muted small" },
          withSeries.size ? "Maps drawn:" : "No map has figures over time.",
        ),
        ...[...chosen.keys()].map((map) =>
          el(
            "span",
            { class: "chip" },
            el("span", { class: "swatch", style: { color: `var(--c${chosen.get(map)})` } }),
            el("span", { title: mapName(map) }, foreign(mapName(map))),
            el(
              "button",
              {
                "aria-label": `Do not draw ${mapName(map)}`,
                title: "Do not draw it",
                onclick: () => {
                  choose(map, false);
                  build();
                  ranking.draw();
                },
              },
              "×",
            ),
          ),
        ),
        spare.length && chosen.size < COLOURS
          ? el(
              "select",
              {
                "aria-label": "Draw another map",
                onchange: (event) => {
                  if (event.target.value !== "") {
                    choose(Number(event.target.value), true);
                    build();
                    ranking.draw();
                  }
                },
              },
              el("option", { value: "" }, "draw another…"),
              spare.map((map) => el("option", { value: String(map) }, mapName(map))),
            )
          : null,
        chosen.size && data.instants.total
          ? el(
              "button",
              {
                "aria-pressed": String(tl.onlyChosen),
                onclick: () => {
                  tl.onlyChosen = !tl.onlyChosen;
                  build();
                },
              },
              "events of these only",
            )
          : null,
      ].filter(Boolean),
    );
  }

  const CAP = 300;
  const timeColumn = { name: "Time", n: true, text: (row) => at(row.t) };
  const wallColumn = { name: "Wall clock", nw: true, text: (row) => wall(row.t) || DASH };
  const inView = (t, d = 0) => t <= view[1] && t + d >= view[0];
  function figureTable() {
    const rows = [];
    for (const panel of PANELS) {
      for (const { series: one, name, kind } of rowsOf(panel)) {
        for (let i = 0; i < one.t.length; i++) {
          if (!inView(one.t[i])) continue;
          const span = one.spans.get(i);
          rows.push({
            t: one.t[i],
            name: panel.maps ? name : "process",
            kind,
            text: FORMATS[panel.unit].text(one.v[i]),
            span:
              span &&
              `${plural(span[1], "point")} to the next row: ${FORMATS[panel.unit].text(span[2])} to ${FORMATS[panel.unit].text(span[3])}`,
          });
        }
      }
    }
    rows.sort((a, b) => a.t - b.t);
    return table(
      "Figures of the maps drawn and of the process, in the time shown.",
      [
        timeColumn,
        wallColumn,
        { name: "Of", text: (row) => row.name },
        { name: "Figure", nw: true, text: (row) => row.kind },
        { name: "Value", n: true, text: (row) => row.text },
        { name: "Joined", text: (row) => row.span || "" },
      ],
      rows,
      CAP,
    );
  }
  function intervalTable() {
    const rows = data.lanes.flatMap((lane) =>
      lane.kept
        .filter(([t, d]) => inView(t, d))
        .map(([t, d, name, whole, goid, source]) => ({
          t,
          d,
          lane: S[lane.name],
          name: S[name],
          whole,
          goid,
          source,
        })),
    );
    rows.sort((a, b) => a.t - b.t);
    const rest = data.lanes.reduce((n, lane) => n + lane.total - lane.kept.length, 0);
    return table(
      `Intervals in the time shown.${rest ? ` ${int(rest)} shorter ones of the whole time are only counted.` : ""}`,
      [
        timeColumn,
        wallColumn,
        { name: "Length", n: true, text: (row) => duration(row.d) },
        { name: "Lane", text: (row) => row.lane },
        { name: "What", text: (row) => row.name },
        { name: "Goroutine", n: true, text: (row) => (known(row.goid) ? String(row.goid) : DASH) },
        { name: "Both ends seen", text: (row) => (row.whole ? "yes" : "no") },
        { name: "Source", text: (row) => sourceName(row.source) },
      ],
      rows,
      CAP,
    );
  }
  function eventTable() {
    const rows = data.instants.kept
      .filter(([t, d, , map]) => inView(t, d) && (!tl.onlyChosen || chosen.has(map)))
      .map((e) => ({ t: e[0], d: e[1], e }));
    const rest = data.instants.total - data.instants.kept.length;
    const frames = (e) =>
      known(e[6]) && data.stacks[e[6]]
        ? el(
            "details",
            {},
            el(
              "summary",
              {},
              foreign(
                S[data.stacks[e[6]].find((f) => !S[f].startsWith("runtime.")) ?? data.stacks[e[6]][0]] ||
                  "stack",
              ),
            ),
            data.stacks[e[6]].map((f) => el("div", { class: "mono" }, foreign(S[f]))),
          )
        : DASH;
    return table(
      `Events in the time shown.${rest ? ` ${int(rest)} of ${int(data.instants.total)} events of the whole time are only counted.` : ""}`,
      [
        timeColumn,
        wallColumn,
        { name: "Known within", n: true, text: (row) => (row.d ? duration(row.d) : "exact") },
        { name: "Event", nw: true, text: (row) => data.instants.ops[row.e[2]].op },
        { name: "Map", text: (row) => (known(row.e[3]) ? mapName(row.e[3]) : DASH) },
        { name: "Entries", n: true, text: (row) => int(row.e[7]) },
        {
          name: "Slots",
          n: true,
          text: (row) => (known(row.e[8]) ? `${int(row.e[8])} → ${int(row.e[9])}` : int(row.e[9])),
        },
        { name: "Bytes", n: true, text: (row) => bytes(row.e[10]) },
        {
          name: "Text or stack",
          node: (row) => (known(row.e[4]) ? foreign(inDirectory(S[row.e[4]])) : frames(row.e)),
        },
      ],
      rows,
      CAP,
    );
  }

  // --- Ranking

  const ranking = { key: "reclaimable", down: true, filter: "", all: false, draw: () => {} };
  const COLUMNS = [
    { key: "name", name: "Map", of: (m, i) => mapName(i) },
    { key: "len", name: "Entries", n: true, of: (m) => m.len, text: int },
    { key: "capacity", name: "Slots", n: true, of: (m) => m.capacity, text: int },
    { key: "holes", name: "Holes", n: true, of: holesOf, text: percent },
    { key: "allocated", name: "Allocated", n: true, of: (m) => m.allocated, text: bytes },
    { key: "reclaimable", name: "To give back", n: true, of: (m) => m.reclaimable, text: bytes },
    { key: "growths", name: "Growths", n: true, of: (m) => m.growths, text: int },
    {
      key: "first",
      name: "First seen",
      n: true,
      of: (m) => (m.extent ? m.extent[0] : null),
      text: (v) => (known(v) ? `+${duration(v)}` : DASH),
    },
  ];
  function maps() {
    if (!data.maps.length) {
      body("maps").append(el("p", { class: "empty" }, "No map was found in the sources."));
      return;
    }
    const holder = el("div");
    const rest = data.maps_left_out;
    append(body("maps"), [
      el(
        "div",
        { class: "bar" },
        data.maps.length > 8 &&
          el("input", {
            type: "search",
            placeholder: "Filter by name, type, address",
            "aria-label": "Filter the maps",
            oninput: (event) => {
              ranking.filter = event.target.value.toLowerCase();
              ranking.draw();
            },
          }),
      ),
      holder,
      rest &&
        el(
          "p",
          { class: "caption" },
          `${plural(rest.maps, "smaller map")} left out: ${bytes(rest.allocated)} allocated, ${bytes(rest.reclaimable)} of it to give back.`,
        ),
    ]);
    ranking.draw = () => {
      const focused =
        document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
      const column = COLUMNS.find((c) => c.key === ranking.key);
      let rows = data.maps.map((map, index) => ({ map, index, value: column.of(map, index) }));
      if (ranking.filter)
        rows = rows.filter(({ map, index }) =>
          `${mapName(index)} ${stringOf(map.type_name) || ""} ${map.address}`
            .toLowerCase()
            .includes(ranking.filter),
        );
      rows.sort((a, b) => {
        if (!known(a.value) || !known(b.value))
          return known(a.value) ? -1 : known(b.value) ? 1 : a.index - b.index;
        const order = typeof a.value === "string" ? a.value.localeCompare(b.value) : a.value - b.value;
        return (ranking.down ? -order : order) || a.index - b.index;
      });
      const matched = rows.length;
      if (!ranking.all) rows = rows.slice(0, 15);
      const inexact = rows.some(({ map }) => !map.exact);
      const caption = `${matched === data.maps.length ? plural(matched, "map") : `${int(matched)} of ${plural(data.maps.length, "map")}`}${rows.length < matched ? `, ${int(rows.length)} shown` : ""}, as last known. Click a column to sort.${inexact ? " ≈: not every figure of it is certain." : ""}`;
      holder.replaceChildren(
        el("p", { class: "caption", "aria-hidden": "true" }, caption),
        el(
          "div",
          { class: "scroll" },
          el(
            "table",
            { class: "data" },
            el("caption", { class: "hidden" }, caption),
            el(
              "thead",
              {},
              el(
                "tr",
                {},
                el("th", { scope: "col" }, el("span", { class: "hidden" }, "Drawn on the timeline")),
                COLUMNS.map((c) =>
                  el(
                    "th",
                    {
                      scope: "col",
                      class: c.n && "n",
                      "aria-sort": c.key === ranking.key && (ranking.down ? "descending" : "ascending"),
                    },
                    el(
                      "button",
                      {
                        class: "sort",
                        "data-key": c.key,
                        onclick: () => {
                          if (ranking.key === c.key) ranking.down = !ranking.down;
                          else {
                            ranking.key = c.key;
                            ranking.down = !!c.n;
                          }
                          ranking.draw();
                        },
                      },
                      c.name,
                      c.key === ranking.key ? (ranking.down ? " ↓" : " ↑") : "",
                    ),
                  ),
                ),
              ),
            ),
            el(
              "tbody",
              {},
              rows.map(({ map, index }) =>
                el(
                  "tr",
                  { class: chosen.has(index) && "on" },
                  el(
                    "td",
                    {},
                    withSeries.has(index)
                      ? el("input", {
                          type: "checkbox",
                          checked: chosen.has(index),
                          "data-key": `c${index}`,
                          style: {
                            "accent-color": chosen.has(index) ? `var(--c${chosen.get(index)})` : "auto",
                          },
                          "aria-label": `Draw ${mapName(index)} on the timeline`,
                          onchange: () => {
                            choose(index);
                            build();
                            ranking.draw();
                          },
                        })
                      : null,
                  ),
                  COLUMNS.map((c, i) =>
                    i === 0
                      ? el(
                          "th",
                          { scope: "row" },
                          el(
                            "span",
                            { class: "who" },
                            el(
                              "button",
                              {
                                class: "link",
                                "data-key": `m${index}`,
                                title: "Look inside",
                                onclick: () => inside.show(index, true),
                              },
                              foreign(stringOf(map.name) || stringOf(map.type_name) || "type not known"),
                            ),
                            map.exact ? "" : el("span", { title: "not every figure is certain" }, " ≈"),
                            el(
                              "small",
                              {},
                              known(map.name) && known(map.type_name)
                                ? [foreign(S[map.type_name], "mono"), " · "]
                                : "",
                              el("span", { class: "mono nw" }, map.address),
                            ),
                          ),
                        )
                      : el("td", { class: "n" }, c.text(c.of(map, index))),
                  ),
                ),
              ),
            ),
          ),
        ),
        matched > 15
          ? el(
              "p",
              {},
              el(
                "button",
                {
                  "data-key": "all",
                  onclick: () => {
                    ranking.all = !ranking.all;
                    ranking.draw();
                  },
                },
                ranking.all ? "Show the first 15" : `Show all ${int(matched)}`,
              ),
            )
          : "",
      );
      if (focused) {
        const again = holder.querySelector(`[data-key="${CSS.escape(focused)}"]`);
        if (again) again.focus();
      }
    };
    ranking.draw();
  }

  // --- Inside one map

  function mix(a, b, t) {
    const part = (c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
    const [x, y] = [part(a), part(b)];
    return `rgb(${x.map((v, i) => Math.round(v + (y[i] - v) * t)).join(",")})`;
  }
  /** Three stops, from few to all; none is not on the scale. */
  function heatColour(share) {
    return share <= 0.5
      ? mix(css("--heat0"), css("--heat1"), share * 2)
      : mix(css("--heat1"), css("--heat2"), share * 2 - 1);
  }
  function sized(canvas, width, height) {
    const r = devicePixelRatio || 1;
    canvas.width = Math.round(width * r);
    canvas.height = Math.round(height * r);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext("2d");
    ctx.setTransform(r, 0, 0, r, 0, 0);
    return ctx;
  }

  const inside = { index: -1, show: () => {} };
  function insideMap() {
    const host = body("inside");
    const rich = data.maps.map((map, index) => index).filter((i) => data.maps[i].heat || data.maps[i].blocks);
    if (!rich.length) {
      host.append(
        el(
          "p",
          { class: "empty" },
          "No source tells the buckets or the blocks of a map. A snapshot does, taken with -buckets.",
        ),
      );
      return;
    }
    const select = el(
      "select",
      { "aria-label": "Map", onchange: (event) => inside.show(Number(event.target.value)) },
      rich.map((i) => el("option", { value: String(i) }, mapName(i))),
    );
    const holder = el("div");
    host.append(el("div", { class: "bar" }, el("span", { class: "muted small" }, "Map"), select), holder);
    let paint = () => {};
    inside.show = (index, jump) => {
      inside.index = index;
      const map = data.maps[index];
      select.value = rich.includes(index) ? String(index) : "";
      const parts = [
        el(
          "p",
          { class: "caption" },
          foreign(stringOf(map.type_name) || "type not known", "mono"),
          ` at ${map.address}`,
          known(map.len) ? ` · ${plural(map.len, "entry", "entries")}` : "",
          known(map.capacity) ? ` in ${plural(map.capacity, "slot")}` : "",
          known(holesOf(map)) ? ` · holes ${percent(holesOf(map))}` : "",
          map.exact ? "" : " · not every figure is certain",
        ),
      ];
      if (known(map.allocated_at))
        parts.push(
          el(
            "details",
            {},
            el("summary", {}, "Where its storage was allocated"),
            data.stacks[map.allocated_at].map((f) => el("div", { class: "mono small" }, foreign(S[f]))),
          ),
        );
      const paints = [];
      if (map.heat) parts.push(heat(map.heat, map.chains, paints));
      else parts.push(el("p", { class: "empty" }, "Its buckets are not in any source."));
      if (map.blocks) parts.push(strip(map.blocks, paints));
      else parts.push(el("p", { class: "empty" }, "Its blocks are not in any source."));
      holder.replaceChildren();
      append(holder, parts);
      paint = () => paints.forEach((one) => one());
      paint();
      if (jump) {
        $("inside").scrollIntoView({ block: "start" });
        select.focus({ preventScroll: true });
      }
    };
    inside.show(rich[0]);
    painters.push(() => paint());
    let width = holder.clientWidth;
    new ResizeObserver(
      later(80, () => {
        if (Math.abs(holder.clientWidth - width) > 1) {
          width = holder.clientWidth;
          paint();
        }
      }),
    ).observe(holder);
  }

  /** Counts by a small number, as a table with bars. */
  function histogram(caption, head, counts, open) {
    const most = Math.max(1, ...counts),
      all = counts.reduce((sum, count) => sum + count, 0);
    const row = (count, value) =>
      el(
        "tr",
        {},
        el(
          "th",
          { scope: "row", class: "n" },
          int(value),
          open && value === counts.length - 1 ? " or more" : "",
        ),
        el("td", { class: "n" }, int(count)),
        el(
          "td",
          { class: "wide", title: percent(count / all) },
          el("span", {
            class: "spark",
            style: { width: `${(count / most) * 100}%`, visibility: count ? "visible" : "hidden" },
          }),
        ),
      );
    return el(
      "table",
      { class: "data" },
      el("caption", {}, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col", class: "n" }, head),
          el("th", { scope: "col", class: "n" }, "Buckets"),
          el("th", { scope: "col", class: "wide" }, el("span", { class: "hidden" }, "Share")),
        ),
      ),
      el("tbody", {}, counts.map(row)),
    );
  }

  function heat(h, chains, paints) {
    const n = h.cells.length,
      single = n === h.cells_before && h.buckets === n;
    const starts = new Float64Array(n + 1);
    h.cells.forEach((cell, i) => {
      starts[i + 1] = starts[i] + cell[0];
    });
    const share = (i) => {
      const slots = h.cells[i][0] * h.slots;
      return slots ? h.cells[i][1] / slots : 0;
    };
    const canvas = el("canvas", {
      tabIndex: 0,
      role: "img",
      "aria-label": `Heat map of ${plural(h.buckets, "bucket")}: ${plural(h.live, "live slot")} of ${int(h.buckets * h.slots)}. Arrow keys read cells.`,
    });
    const readout = el(
      "div",
      { class: "readout", "aria-live": "polite" },
      "Point at a cell, or focus the map and use the arrow keys.",
    );
    let columns = 1,
      size = 8,
      gutter = 0,
      focus = -1;
    const text = (i) =>
      `${h.cells[i][0] === 1 ? `bucket ${int(starts[i])}` : `buckets ${int(starts[i])} to ${int(starts[i + 1] - 1)}`}: ${int(h.cells[i][1])} of ${plural(h.cells[i][0] * h.slots, "slot")} live (${percent(share(i))})`;
    const paint = () => {
      const width = canvas.parentElement.clientWidth || 300;
      gutter = width < 420 ? 0 : 62;
      const room = width - gutter;
      size = Math.max(3, Math.min(18, Math.floor(Math.sqrt((room * 300) / n))));
      columns = Math.max(1, Math.min(Math.floor(room / size), n));
      // Rows of a power of two read better by address.
      if (columns < n && columns >= 16)
        columns =
          2 ** Math.floor(Math.log2(columns)) *
          (columns / 2 ** Math.floor(Math.log2(columns)) >= 1.5 ? 1.5 : 1);
      size = Math.max(size, Math.min(18, Math.floor(room / columns)));
      const rows = Math.ceil(n / columns),
        ctx = sized(canvas, width, rows * size + 2);
      const gap = size >= 6 ? 1 : 0,
        hole = css("--hole"),
        edge = css("--hole-line"),
        pick = new Map();
      ctx.font = FONT;
      ctx.textBaseline = "middle";
      ctx.textAlign = "right";
      const every = Math.max(1, Math.ceil(16 / size));
      for (let row = 0; row < rows && gutter; row += every) {
        ctx.fillStyle = css("--muted");
        ctx.fillText(int(starts[row * columns]), gutter - 8, row * size + Math.max(size, 12) / 2);
      }
      for (let i = 0; i < n; i++) {
        const x = gutter + (i % columns) * size,
          y = Math.floor(i / columns) * size,
          s = share(i);
        if (h.cells[i][1] === 0) {
          ctx.fillStyle = hole;
          ctx.fillRect(x, y, size - gap, size - gap);
          ctx.strokeStyle = edge;
          ctx.lineWidth = 1;
          if (size >= 5) ctx.strokeRect(x + 0.5, y + 0.5, size - gap - 1, size - gap - 1);
          else {
            ctx.fillStyle = edge;
            ctx.fillRect(x, y, 1, 1);
          }
          continue;
        }
        const step = Math.round(Math.min(1, s) * 40);
        if (!pick.has(step)) pick.set(step, heatColour(step / 40));
        ctx.fillStyle = pick.get(step);
        ctx.fillRect(x, y, size - gap, size - gap);
      }
      if (focus >= 0) {
        ctx.strokeStyle = css("--pin");
        ctx.lineWidth = 2;
        ctx.strokeRect(
          gutter + (focus % columns) * size - 0.5,
          Math.floor(focus / columns) * size - 0.5 + 1,
          size + 1 - gap,
          size + 1 - gap,
        );
      }
    };
    paints.push(paint);
    canvas.addEventListener("mousemove", (event) => {
      const column = Math.floor((event.offsetX - gutter) / size),
        i = Math.floor(event.offsetY / size) * columns + column;
      if (column < 0 || column >= columns || i < 0 || i >= n) {
        hideTip();
        return;
      }
      showTip(event.clientX, event.clientY, null, [[text(i), ""]]);
    });
    canvas.addEventListener("mouseleave", hideTip);
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -n, End: n }[
        event.key
      ];
      if (by === undefined) return;
      event.preventDefault();
      focus = Math.max(0, Math.min(n - 1, Math.max(focus, 0) + by));
      readout.textContent = text(focus);
      paint();
    });
    canvas.addEventListener("blur", () => {
      focus = -1;
      paint();
    });
    const legend = el("div", { class: "legend" });
    const key = () => {
      const box = (colour, label) =>
        el("span", {}, el("span", { class: "swatch box", style: { background: colour } }), label);
      const stops = single ? Array.from({ length: h.slots }, (_, i) => i + 1) : [0.01, 0.25, 0.5, 0.75, 1];
      legend.replaceChildren(
        "Live slots:",
        box(css("--hole"), "none"),
        ...stops.map((v) =>
          box(heatColour(single ? v / h.slots : v), single ? String(v) : v === 0.01 ? "few" : `${v * 100} %`),
        ),
      );
    };
    paints.push(key);
    const how = single
      ? "One cell is one bucket, in storage order."
      : `One cell is ${int(h.cells[0][0])} buckets in a row${n < h.cells_before ? " (joined for the page)" : ""}, in storage order; the shade is the share of their slots that are live.`;
    const right = [
      h.distribution
        ? histogram("Buckets by their live slots", "Live", h.distribution)
        : el(
            "p",
            { class: "caption" },
            "How many buckets have how many live slots is not known: the source joined buckets to cells.",
          ),
      chains.length > 1 &&
        histogram(
          "Main buckets by the overflow buckets behind them (chains)",
          "Overflow",
          chains,
          chains.length === 16,
        ),
    ];
    const cells = lazyDetails("Cells, as a table", () =>
      table(
        "Buckets in storage order.",
        [
          {
            name: "Buckets",
            nw: true,
            text: ({ i }) =>
              h.cells[i][0] === 1 ? int(starts[i]) : `${int(starts[i])} to ${int(starts[i + 1] - 1)}`,
          },
          { name: "Live slots", n: true, text: ({ i }) => int(h.cells[i][1]) },
          { name: "Of", n: true, text: ({ i }) => int(h.cells[i][0] * h.slots) },
          { name: "Share", n: true, text: ({ i }) => percent(share(i)) },
        ],
        h.cells.map((_, i) => ({ i })),
        CAP,
      ),
    );
    return el(
      "div",
      { class: "chart" },
      el(
        "div",
        { class: "chart-head" },
        el("h3", {}, "Live slots by bucket"),
        el(
          "span",
          { class: "muted" },
          `${plural(h.buckets, "bucket")} of ${plural(h.slots, "slot")} at `,
          el("button", { class: "link", onclick: () => show(h.t) }, at(h.t)),
        ),
      ),
      el("p", { class: "caption" }, how),
      el(
        "div",
        { class: "two" },
        el("div", {}, canvas, legend, readout, cells.details),
        el("div", {}, right),
      ),
    );
  }

  function strip(b, paints) {
    const canvas = el("canvas", {
      role: "img",
      tabIndex: 0,
      "aria-label": `${plural(b.blocks, "block")} over ${bytes(b.span)} of addresses. Arrow keys read blocks.`,
    });
    const readout = el(
      "div",
      { class: "readout", "aria-live": "polite" },
      "Point at a block, or focus the strip and use the left and right arrow keys.",
    );
    const address = (offset) => `0x${(BigInt(b.base) + BigInt(offset)).toString(16)}`;
    const text = ([offset, extent, size, kind, count]) =>
      `${S[kind]}: ${count > 1 ? `${plural(count, "block")}, ` : ""}${exactBytes(size)}${size < extent ? ` within ${bytes(extent)}` : ""} at ${address(offset)}`;
    // The widest gaps are cut out while one takes a noticeable part of what is left.
    const gaps = [];
    let end = 0;
    b.runs.forEach(([offset, extent], i) => {
      if (i && offset > end) gaps.push({ before: i, from: end, length: offset - end });
      end = Math.max(end, offset + extent);
    });
    gaps.sort((x, y) => y.length - x.length);
    let left = b.span;
    const cut = [];
    for (const gap of gaps) {
      if (cut.length >= 24 || gap.length < left * 0.04) break;
      cut.push(gap);
      left -= gap.length;
    }
    cut.sort((x, y) => x.from - y.from);
    const lost = cut.reduce((n, gap) => n + gap.length, 0);
    const kinds = [...new Set(b.runs.map((run) => run[3]))];
    const tone = (kind) => css(`--c${[0, 1, 2, 4, 3, 5][kinds.indexOf(kind) % 6]}`);
    let spots = [],
      focus = -1;
    const TOP = 6,
      HIGH = 40;
    const paint = () => {
      const width = canvas.parentElement.clientWidth || 300,
        ctx = sized(canvas, width, 78);
      const slot = cut.length ? Math.max(6, Math.min(26, (width * 0.25) / cut.length)) : 0,
        scale = (width - slot * cut.length) / Math.max(1, left);
      const X = (offset) => {
        let x = offset,
          breaks = 0;
        for (const gap of cut) {
          if (offset >= gap.from + gap.length) {
            x -= gap.length;
            breaks += 1;
          } else if (offset > gap.from) {
            x -= offset - gap.from;
          }
        }
        return x * scale + breaks * slot;
      };
      ctx.fillStyle = css("--bg");
      ctx.fillRect(0, TOP, width, HIGH);
      spots = b.runs.map((run) => [
        X(run[0]),
        Math.max(1, X(run[0]) + run[1] * scale - X(run[0]) - (run[1] * scale > 4 ? 0.75 : 0)),
        run,
      ]);
      for (const [x, w, run] of spots) {
        ctx.fillStyle = tone(run[3]);
        ctx.globalAlpha = run[2] < run[1] ? Math.max(0.35, run[2] / run[1]) : 1;
        ctx.fillRect(x, TOP, w, HIGH);
      }
      ctx.globalAlpha = 1;
      ctx.font = FONT;
      ctx.textBaseline = "top";
      let free = -1;
      const label = (x, offset) => {
        const value = address(offset),
          w = ctx.measureText(value).width,
          from = Math.max(0, Math.min(x, width - w));
        if (from < free) return;
        ctx.fillStyle = css("--muted");
        ctx.fillText(value, from, TOP + HIGH + 8);
        ctx.fillRect(Math.min(x, width - 1), TOP + HIGH, 1, 5);
        free = from + w + 14;
      };
      label(0, 0);
      for (const gap of cut) {
        const x = X(gap.from + gap.length) - slot;
        ctx.fillStyle = css("--panel");
        ctx.fillRect(x, TOP - 2, slot, HIGH + 4);
        ctx.strokeStyle = css("--muted");
        ctx.lineWidth = 1;
        ctx.beginPath();
        for (const shift of [slot * 0.3, slot * 0.6]) {
          ctx.moveTo(x + shift - 2, TOP + HIGH);
          ctx.lineTo(x + shift + 3, TOP);
        }
        ctx.stroke();
        label(x + slot, gap.from + gap.length);
      }
      if (focus >= 0) {
        const [x, w] = spots[focus];
        ctx.strokeStyle = css("--pin");
        ctx.lineWidth = 2;
        ctx.strokeRect(x - 1, TOP - 2, w + 2, HIGH + 4);
      }
    };
    paints.push(paint);
    const legend = el("div", { class: "legend" });
    paints.push(() =>
      legend.replaceChildren(
        ...kinds.map((kind) =>
          el(
            "span",
            {},
            el("span", { class: "swatch box", style: { background: tone(kind) } }),
            foreign(S[kind]),
          ),
        ),
        cut.length ? el("span", {}, "// addresses of other things, left out") : "",
      ),
    );
    canvas.addEventListener("mousemove", (event) => {
      const found = spots.find(([x, w]) => event.offsetX >= x - 1 && event.offsetX <= x + w + 1);
      if (found) showTip(event.clientX, event.clientY, null, [[foreign(text(found[2])), ""]]);
      else hideTip();
    });
    canvas.addEventListener("mouseleave", hideTip);
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      focus = Math.max(0, Math.min(spots.length - 1, focus + by));
      readout.textContent = text(spots[focus][2]);
      paint();
    });
    canvas.addEventListener("blur", () => {
      focus = -1;
      paint();
    });
    const rows = lazyDetails("Blocks, as a table", () =>
      table(
        "Blocks by address; touching ones of a kind are one row.",
        [
          { name: "Address", nw: true, node: (run) => el("span", { class: "mono" }, address(run[0])) },
          { name: "What", text: (run) => S[run[3]] },
          { name: "Blocks", n: true, text: (run) => int(run[4]) },
          { name: "Bytes", n: true, text: (run) => int(run[2]) },
          { name: "Extent", n: true, text: (run) => bytes(run[1]) },
        ],
        b.runs,
        CAP,
      ),
    );
    const fewest = Math.ceil(b.bytes / 4096);
    return el(
      "div",
      { class: "chart" },
      el(
        "div",
        { class: "chart-head" },
        el("h3", {}, "Where it lies"),
        el(
          "span",
          { class: "muted" },
          `${plural(b.blocks, "block")}, ${bytes(b.bytes)}, over ${bytes(b.span)} of addresses`,
        ),
      ),
      el(
        "p",
        { class: "caption" },
        `${plural(b.pages, "page")} of 4 KiB ${b.pages === 1 ? "is" : "are"} touched${fewest < b.pages ? ` (${int(fewest)} would do)` : ""}.${overlap(b)} ${cut.length ? `To scale, but for ${plural(cut.length, "gap")} of ${bytes(lost)} together, which ${cut.length === 1 ? "is" : "are"} cut out where the strip is broken.` : "To scale."}`,
      ),
      el("div", {}, canvas),
      legend,
      readout,
      rows.details,
    );
  }

  // --- Wasted bytes

  function waste() {
    const host = body("waste");
    if (!data.flame.length || !data.flame[0][3]) {
      host.append(el("p", { class: "empty" }, "No source tells bytes that hold no entry."));
      return;
    }
    const nodes = data.flame.map(([parent, kind, name, size, maps], index) => ({
      index,
      parent,
      kind,
      name: S[name],
      bytes: size,
      maps,
      children: [],
    }));
    nodes.forEach((node) => {
      if (node.index) nodes[node.parent].children.push(node);
    });
    nodes.forEach((node) => node.children.sort((a, b) => b.bytes - a.bytes));
    const root = d3.hierarchy(nodes[0]).sum((node) => (node.children.length ? 0 : node.bytes));
    d3.partition()(root);
    const total = nodes[0].bytes;
    nodes[0].name = "all maps";
    const flame = el("div", {
      class: "flame",
      role: "group",
      "aria-label": "Flame graph of wasted bytes. Arrow keys move, Enter zooms, Escape goes up.",
    });
    const crumbs = el("ol", { class: "crumbs" }),
      readout = el("div", { class: "readout" }),
      found = el("span", { class: "range", "aria-live": "polite" });
    let focus = root,
      current = root,
      term = "";
    const kindWord = {
      all: "",
      type: "type",
      holder: "held by",
      frame: "allocated in",
      component: "what",
      rest: "",
    };
    const text = (node) =>
      `${kindWord[node.data.kind] ? `${kindWord[node.data.kind]}: ` : ""}${node.data.name} · ${exactBytes(node.data.bytes)} · ${percent(node.data.bytes / total)} of all${node.data.maps ? ` · ${plural(node.data.maps, "map")}` : ""}`;
    const matches = (node) => term !== "" && node.data.name.toLowerCase().includes(term);
    const draw = (refocus) => {
      const width = flame.clientWidth || 600,
        scale = width / Math.max(1e-12, focus.x1 - focus.x0),
        up = focus.ancestors().reverse(),
        kids = [];
      let deep = 0,
        thin = 0;
      focus.each((node) => {
        const w = (node.x1 - node.x0) * scale;
        if (w < 2.5) {
          thin += 1;
          return;
        }
        deep = Math.max(deep, node.depth);
        kids.push(node);
      });
      const list = [...up.slice(0, -1), ...kids];
      if (!list.includes(current)) current = focus;
      flame.replaceChildren(
        ...list.map((node) => {
          const above = node.depth < focus.depth,
            x = above ? 0 : (node.x0 - focus.x0) * scale,
            w = above ? width : (node.x1 - node.x0) * scale;
          const button = el(
            "button",
            {
              class: `k-${node.data.kind}${above ? " up" : ""}${matches(node) ? " hit" : ""}`,
              tabIndex: node === current ? 0 : -1,
              "aria-label": text(node),
              dir: "ltr",
              style: {
                left: `${x}px`,
                top: `${node.depth * 23}px`,
                width: `${Math.max(1, w)}px`,
                padding: w < 14 ? "0" : null,
              },
              onclick: () => {
                current = node;
                focus = node;
                draw(true);
              },
              onfocus: () => {
                current = node;
                readout.textContent = text(node);
              },
              onmousemove: (event) =>
                showTip(event.clientX, event.clientY, null, [[foreign(text(node)), ""]]),
              onmouseleave: hideTip,
            },
            w > 26 ? foreign(node.data.name) : "",
          );
          node.button = button;
          return button;
        }),
      );
      flame.style.height = `${(deep + 1) * 23}px`;
      crumbs.replaceChildren(
        ...up.map((node, i) =>
          el(
            "li",
            {},
            i === up.length - 1
              ? el("b", {}, foreign(node.data.name))
              : el(
                  "button",
                  {
                    class: "link",
                    onclick: () => {
                      focus = current = node;
                      draw(true);
                    },
                  },
                  foreign(node.data.name),
                ),
          ),
        ),
        el("li", { class: "muted" }, `${bytes(focus.data.bytes)} (${percent(focus.data.bytes / total)})`),
      );
      readout.textContent = thin ? `${plural(thin, "box", "boxes")} too narrow to draw: zoom in.` : "";
      if (refocus && current.button) current.button.focus({ preventScroll: true });
      hideTip();
    };
    flame.addEventListener("keydown", (event) => {
      const sibling = (by) => {
        const peers = current.parent ? current.parent.children : [current];
        return peers[peers.indexOf(current) + by];
      };
      const next = {
        ArrowUp: current.parent,
        ArrowDown: current.children && current.children[0],
        ArrowLeft: sibling(-1),
        ArrowRight: sibling(1),
        Home: root,
      }[event.key];
      if (event.key === "Escape") {
        if (focus.parent) {
          focus = current = focus.parent;
          draw(true);
        }
        event.preventDefault();
        return;
      }
      if (!next) return;
      event.preventDefault();
      current = next;
      // What is not drawn yet comes into sight by zooming to its parent.
      if (current.depth < focus.depth) focus = current;
      draw(true);
      if (!flame.contains(document.activeElement)) {
        focus = current;
        draw(true);
      }
    });
    const search = el("input", {
      type: "search",
      placeholder: "Search types, holders, functions",
      "aria-label": "Search the flame graph",
      oninput: later(120, (event) => {
        term = event.target.value.trim().toLowerCase();
        let sum = 0,
          hits = 0;
        // What lies below a hit is part of it.
        const visit = (node) => {
          if (matches(node)) {
            sum += node.data.bytes;
            hits += 1;
            return;
          }
          (node.children || []).forEach(visit);
        };
        if (term) visit(root);
        found.textContent = term
          ? `${plural(hits, "match", "matches")}, ${bytes(sum)} (${percent(sum / total)})`
          : "";
        draw();
      }),
    });
    const words = [
      ["type", "type of the map"],
      ["holder", "who holds it"],
      ["frame", "who allocated its storage, callers first"],
      ["component", "kind of bytes"],
    ];
    const rows = lazyDetails("Wasted bytes, as a table", () => {
      const leaves = root.leaves().sort((a, b) => b.data.bytes - a.data.bytes);
      const part = (leaf, kind) =>
        leaf
          .ancestors()
          .filter((node) => node.data.kind === kind)
          .map((node) => node.data.name);
      return table(
        "Bytes that hold no entry, the most first.",
        [
          { name: "Bytes", n: true, text: (leaf) => bytes(leaf.data.bytes) },
          { name: "Share", n: true, text: (leaf) => percent(leaf.data.bytes / total) },
          { name: "Type", text: (leaf) => part(leaf, "type")[0] || DASH },
          { name: "Held by", text: (leaf) => part(leaf, "holder")[0] || DASH },
          { name: "Allocated in", text: (leaf) => part(leaf, "frame")[0] || DASH },
          { name: "What", text: (leaf) => leaf.data.name },
          { name: "Maps", n: true, text: (leaf) => (leaf.data.maps ? int(leaf.data.maps) : DASH) },
        ],
        leaves,
        CAP,
      );
    });
    append(host, [
      el(
        "p",
        { class: "caption" },
        `${exactBytes(total)} of the maps' storage hold no entry${nodes.some((node) => node.kind === "component" && node.name === "reclaimable") ? "; of what only a scan saw, it is what a rebuild would give back (reclaimable)" : ""}. The width of a box is its bytes; click to zoom.`,
      ),
      el(
        "div",
        { class: "bar" },
        search,
        el(
          "button",
          {
            onclick: () => {
              focus = current = root;
              draw();
            },
          },
          "Whole graph",
        ),
        found,
      ),
      crumbs,
      flame,
      readout,
      el(
        "div",
        { class: "legend" },
        words.map(([kind, label]) =>
          el(
            "span",
            {},
            el("span", { class: "swatch box", style: { background: `var(--f-${kind})` } }),
            label,
          ),
        ),
      ),
      rows.details,
    ]);
    draw();
    let width = flame.clientWidth;
    new ResizeObserver(
      later(80, () => {
        if (Math.abs(flame.clientWidth - width) > 1) {
          width = flame.clientWidth;
          draw();
        }
      }),
    ).observe(flame);
  }

  // --- Sources, notes

  function sources() {
    const host = body("sources");
    if (!data.sources.length) {
      host.append(el("p", { class: "empty" }, "None."));
      return;
    }
    if (data.wall)
      host.append(
        el(
          "p",
          { class: "caption" },
          "Wall clock times rest on ",
          foreign(sourceName(data.wall.source), "mono"),
          `: right within ${duration(data.wall.error_ns)}.`,
          directory && [" All files are in ", foreign(directory, "mono"), "."],
        ),
      );
    append(host, [
      table(
        "Where the report's facts come from, and how their times came onto CLOCK_MONOTONIC.",
        [
          {
            name: "Source",
            node: (s) =>
              el(
                "span",
                { class: "who" },
                foreign(inDirectory(s.path) || "live target", "mono"),
                el("small", {}, s.kind),
              ),
          },
          {
            name: "Times",
            node: (s) =>
              s.refused
                ? [el("span", { class: "badge bad" }, "refused"), foreign(s.refused)]
                : foreign(inDirectory(s.mapping)),
          },
          {
            name: "Added",
            n: true,
            // On paper it may break behind a comma.
            node: (s) =>
              s.offset_ns === null
                ? DASH
                : [
                    ...grouped(s.offset_ns)
                      .match(/[^,]+,?/g)
                      .flatMap((part) => [part, el("wbr")]),
                    " ns",
                  ],
          },
          {
            name: "Right within",
            n: true,
            text: (s) =>
              s.refused
                ? DASH
                : known(s.error_ns)
                  ? s.error_ns === 0
                    ? "exact"
                    : duration(s.error_ns)
                  : "not known",
          },
          { name: "Records", n: true, text: (s) => int(s.records) },
          { name: "From", n: true, text: (s) => (s.extent ? `+${duration(s.extent[0])}` : DASH) },
          { name: "To", n: true, text: (s) => (s.extent ? `+${duration(s.extent[1])}` : DASH) },
          {
            name: "To know",
            node: (s) => (s.notes.length ? s.notes.map((note) => el("div", {}, foreign(note))) : ""),
          },
        ],
        data.sources,
        500,
        data.sources_total,
      ),
    ]);
  }
  function notes() {
    const list = data.notes.slice();
    const kept = data.instants.kept.length;
    if (kept < data.instants.total)
      list.push(
        `${int(kept)} of ${int(data.instants.total)} events are on the page one by one: those findings rest on, then growths, clears and logs, then the largest, then a sample spread over the others. All are counted in the columns, ${duration(data.instants.bin_ns)} wide.`,
      );
    const dense = data.series.filter((one) => one.points > one.t.length);
    if (dense.length)
      list.push(
        `${plural(dense.length, "series", "series")} with ${int(dense.reduce((n, one) => n + one.points, 0))} points are drawn by ${int(dense.reduce((n, one) => n + one.t.length, 0))}: first, last, least and greatest value of each stretch are exact.`,
      );
    const lanes = data.lanes.filter((lane) => lane.bins.length);
    if (lanes.length)
      list.push(
        `${int(lanes.reduce((n, lane) => n + lane.kept.length, 0))} of ${int(lanes.reduce((n, lane) => n + lane.total, 0))} intervals of lanes with many are drawn one by one, the longest of each lane; columns show how much of each ${duration(lanes[0].bin_ns)} all of them take.`,
      );
    if (data.flame.some((node) => node[1] === "rest"))
      list.push("The smallest boxes of the flame graph are summed up.");
    body("notes").append(
      list.length
        ? el(
            "ul",
            {},
            list.map((note) => el("li", {}, foreign(note))),
          )
        : el("p", { class: "empty" }, "None: nothing was left out."),
    );
  }

  // What one part does not understand must not hide the others.
  for (const [id, part] of [
    ["main", head],
    ["findings", findings],
    ["timeline", timeline],
    ["maps", maps],
    ["inside", insideMap],
    ["waste", waste],
    ["sources", sources],
    ["notes", notes],
  ]) {
    try {
      part();
    } catch (error) {
      console.error(error);
      const place = $(id).querySelector(".body") || $(id);
      place.prepend(el("p", { class: "empty" }, `This part could not be drawn: ${error.message}`));
    }
  }
})();
