"use strict";
(() => {
  const { charts, colors } = JSON.parse(document.getElementById("pictures").textContent);
  for (const { data } of Object.values(charts)) {
    data.forEach((trace, index) => {
      for (const key of trace.asBefore) trace[key] = data[index - 1][key];
      delete trace.asBefore;
    });
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const drawn = new Map();
  let printing = false;

  // A text `color:NAME` stands for a colour of the theme.
  const inColors = (value, palette) => {
    if (typeof value === "string") return value.startsWith("color:") ? palette[value.slice(6)] : value;
    if (Array.isArray(value)) return value.map((each) => inColors(each, palette));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, key === "bdata" ? each : inColors(each, palette)]));
  };

  const layoutOf = (place, width, palette) => {
    const layout = inColors(charts[place].layout, palette);
    layout.width = width;
    // A finger that goes over a chart is there to scroll the page.
    if (coarse.matches) layout.dragmode = false;
    if (width < 520) {
      layout.margin = { ...layout.margin, l: Math.min(48, layout.margin.l), r: 4 };
      layout.font = { ...layout.font, size: 11 };
      layout.yaxis = { ...layout.yaxis, automargin: true };
    }
    const range = drawn.get(place)?.range;
    if (range) layout.xaxis = { ...layout.xaxis, range, autorange: false };
    return layout;
  };

  const draw = (place, width) => {
    const div = document.getElementById(place);
    const palette = colors[dark.matches && !printing ? "dark" : "light"];
    const first = !drawn.has(place);
    if (first) drawn.set(place, { range: null });
    const options = { displayModeBar: false, responsive: false, doubleClick: "reset", showTips: false };
    Plotly.react(div, inColors(charts[place].data, palette), layoutOf(place, width ?? div.clientWidth, palette), options);
    drawn.get(place).width = width ?? div.clientWidth;
    if (!first) return;
    div.on("plotly_click", (event) => {
      const anchor = event.points.map((point) => point.customdata).find((each) => typeof each === "string");
      if (anchor) open(anchor);
    });
    div.on("plotly_relayout", (change) => {
      if (!charts[place].linked) return;
      const whole = charts[place].layout.xaxis.range ?? null;
      const low = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
      const high = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
      let range = drawn.get(place).range;
      if (low !== undefined) range = same([low, high], whole) ? null : [low, high];
      else if (change["xaxis.autorange"]) range = null;
      // What this script itself has changed is told too, and later.
      if (!same(range, drawn.get(place).range)) show(groupOf(place), range);
    });
  };

  const same = (one, other) => one === other || (one !== null && other !== null && one[0] === other[0] && one[1] === other[1]);
  const groupOf = (place) => place.slice(0, place.indexOf("-") + 1);

  // All charts of a run show the same steps.
  const show = (group, range) => {
    for (const [place, state] of drawn) {
      if (!charts[place].linked || groupOf(place) !== group) continue;
      state.range = range;
      const whole = charts[place].layout.xaxis.range;
      const change = range || whole ? { "xaxis.range": range ?? [...whole], "xaxis.autorange": false } : { "xaxis.autorange": true };
      Plotly.relayout(place, change);
    }
    const form = document.querySelector(`form[data-charts="${group}"]`);
    if (form) {
      form.elements.from.value = range ? Math.max(0, Math.round(range[0])) : "";
      form.elements.to.value = range ? Math.round(range[1]) : "";
    }
  };

  const open = (anchor) => {
    const row = document.getElementById(anchor);
    const details = row?.querySelector("details");
    if (!row) return;
    if (details) details.open = true;
    row.scrollIntoView({ block: "start" });
    details?.querySelector("summary").focus({ preventScroll: true });
  };

  for (const form of document.querySelectorAll("form.steps")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const low = form.elements.from.valueAsNumber || 0;
      const high = form.elements.to.valueAsNumber;
      if (high > low) show(form.dataset.charts, [low, high]);
    });
    form.addEventListener("reset", () => setTimeout(() => show(form.dataset.charts, null)));
  }

  for (const button of document.querySelectorAll("button.all")) {
    button.addEventListener("click", () => {
      const opened = button.getAttribute("aria-expanded") !== "true";
      const inside = button.closest("section").querySelectorAll(".incidents details");
      for (const each of inside) each.open = opened;
      button.setAttribute("aria-expanded", String(opened));
      button.textContent = opened ? "Close all" : "Open all";
    });
  }

  const places = Object.keys(charts);
  const again = () => { for (const place of drawn.keys()) draw(place); };
  dark.addEventListener("change", again);

  let waiting = 0;
  const observer = new ResizeObserver((entries) => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      if (printing) return;
      for (const { target } of entries) {
        if (drawn.has(target.id) && Math.abs(drawn.get(target.id).width - target.clientWidth) > 1) draw(target.id);
      }
    });
  });

  // Paper is light, as wide as it is, and shows what is closed on a screen.
  const PAPER = 690;
  let closed = [];
  const beforePrint = () => {
    if (printing) return;
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const each of closed) each.open = true;
    for (const place of places) draw(place, PAPER);
  };
  const afterPrint = () => {
    if (!printing) return;
    printing = false;
    for (const each of closed) each.open = false;
    again();
  };
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? beforePrint() : afterPrint()));

  for (const place of places) document.getElementById(place).style.height = `${charts[place].layout.height}px`;
  // One after the other, so that the page can be read and scrolled meanwhile.
  const next = (index) => {
    if (index === places.length) {
      document.documentElement.dataset.drawn = String(Math.round(performance.now()));
      return;
    }
    if (!drawn.has(places[index])) draw(places[index]);
    observer.observe(document.getElementById(places[index]));
    setTimeout(next, 0, index + 1);
  };
  requestAnimationFrame(() => setTimeout(next, 0, 0));
  const target = () => { if (location.hash.length > 1) open(location.hash.slice(1)); };
  addEventListener("hashchange", target);
  if (/^#r\d+-(incident|process)-/.test(location.hash)) target();
})();
