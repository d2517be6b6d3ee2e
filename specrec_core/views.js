// Draws the views of a page (views.py) with plotly.js, once they come near the window.
(() => {
  "use strict";
  const own = document.currentScript && document.currentScript.src;
  // Beside this file in the book; named by the view outside it.
  const bundle = own ? new URL("plotly.min.js", own).href : window.specrecPlotly;

  function plotly() {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    window.specrecLoading ??= new Promise((resolve, reject) => {
      const amd = window.define;  // of RequireJS, which would keep Plotly to itself
      const tag = document.createElement("script");
      const done = (then) => () => { if (amd) window.define = amd; then(window.Plotly); };
      if (amd) window.define = undefined;
      tag.onload = done(resolve);
      tag.onerror = done(() => reject(new Error("plotly.js was not found")));
      tag.src = bundle;
      document.head.append(tag);
    });
    return window.specrecLoading;
  }

  async function read(source) {
    const packed = new Blob([bytes(source.textContent)]).stream();
    const plain = packed.pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(plain).text());
  }

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function numbers(text, low, high) {
    const whole = new Uint16Array(bytes(text).buffer);
    return Float32Array.from(whole, (value) => low + (value / 65535) * (high - low));
  }

  class Scene {
    constructor(data) {
      Object.assign(this, data);
      this.space = this.box.length === 3;
      this.keys = this.space ? ["x", "y", "z"] : ["x", "y"];
      this.decoded = new Map();
    }

    // Coordinates, values, and the rows of each layer, of one frame.
    frame(row, at) {
      const raw = { ...this.common, ...this.rows[row].frames[at] };
      const key = `${row} ${at}`;
      if (this.decoded.has(key)) return this.decoded.get(key);
      const all = bytes(raw.points), each = all.length / this.keys.length;
      const points = this.box.map(([low, high], i) => {
        const whole = new Uint16Array(all.slice(i * each, (i + 1) * each).buffer);
        return Float32Array.from(whole, (value) => low + (value / 65535) * (high - low));
      });
      const rows = this.layers.map(() => []);
      bytes(raw.codes).forEach((layer, i) => rows[layer].push(i));
      raw.marks.forEach((marked, i) => { rows[this.groups + i] = marked; });
      const scale = this.scale;
      const values = scale ? numbers(raw.values, scale.low, scale.high) : null;
      const out = { label: raw.label, caption: raw.caption, points, rows, values };
      this.decoded.set(key, out);
      return out;
    }

    // What changes in the trace of a layer from frame to frame.
    part(frame, layer) {
      const rows = frame.rows[layer];
      const take = (array) => Float32Array.from(rows, (i) => array[i]);
      const out = Object.fromEntries(this.keys.map((key, i) => [key, take(frame.points[i])]));
      if (this.names) out.text = rows.map((i) => this.names[i]);
      if (this.layers[layer].colour === null) out["marker.color"] = take(frame.values);
      if (this.sizes && layer < this.groups) out["marker.size"] = take(this.sizes);
      return out;
    }

    traces(frame) {
      const many = frame.points[0].length > 4000;
      const type = this.space ? "scatter3d" : many ? "scattergl" : "scatter";
      const drawn = this.layers.map((layer, number) => {
        const { "marker.color": colour, "marker.size": size, ...rest } = this.part(frame, number);
        const open = layer.symbol.endsWith("-open");
        const marker = { color: colour ?? layer.colour, size: size ?? layer.size };
        Object.assign(marker, { symbol: layer.symbol, opacity: layer.alpha });
        marker.line = { width: open ? 2 : 0, color: layer.colour ?? this.ink };
        if (colour) {
          const steps = this.scale.colours.map((c, i, all) => [i / (all.length - 1), c]);
          Object.assign(marker, { colorscale: steps, cmin: this.scale.low, cmax: this.scale.high });
        }
        const hover = this.names ? "text" : layer.name ? "name" : "skip";
        return { type, mode: "markers", name: layer.name, marker, hoverinfo: hover, ...rest };
      });
      const line = (points, style) => ({
        type: this.space ? "scatter3d" : "scatter",
        mode: "lines",
        hoverinfo: "skip",
        line: { color: this.ink, width: 2, ...style },
        ...Object.fromEntries(this.keys.map((key, i) => [key, points.map((p) => p[i])])),
      });
      const extra = this.lines.map((points) => line(points, { width: this.space ? 4 : 2 }));
      if (!this.space) return [...drawn, ...extra];
      // Dots of one size at one distance, which dashed lines of plotly.js are not.
      const step = Math.max(...this.box.map(([low, high]) => high - low)) / 70;
      this.box.forEach(([low, high], axis) => {
        const points = [];
        for (let i = Math.ceil(low / step); i * step <= high; i += 1) points.push(i * step);
        const place = (value) => this.box.map((_, i) => (i === axis ? value : 0));
        const dots = line(points.map(place), {});
        extra.push({ ...dots, mode: "markers", marker: { size: 2, color: this.ink, opacity: 1 } });
        extra.push({ ...line([place(high)], {}), mode: "text", text: [this.axes[axis]],
                     textposition: "top center", textfont: { color: this.ink, size: 13 } });
      });
      return [...drawn, ...extra];
    }

    eye(azimuth, elevation, distance) {
      const [a, e] = [azimuth, elevation].map((angle) => (angle * Math.PI) / 180);
      const flat = distance * Math.cos(e);
      return { x: flat * Math.cos(a), y: flat * Math.sin(a), z: distance * Math.sin(e) };
    }

    layout() {
      const clear = "rgba(0,0,0,0)";
      const base = {
        paper_bgcolor: clear,
        plot_bgcolor: clear,
        showlegend: false,
        font: { color: this.ink, family: "system-ui, sans-serif" },
        hoverlabel: { bgcolor: "#333333", bordercolor: "#333333", align: "left",
                      font: { color: "#ffffff", size: 13 } },
        margin: { l: 0, r: 0, t: 0, b: 0 },
      };
      if (this.space) {
        const spans = this.box.map(([low, high]) => high - low);
        const [x, y, z] = spans.map((span) => span * this.unit);
        const axis = (i) => ({ visible: false, range: this.box[i], showspikes: false });
        const camera = { eye: this.eye(...this.camera, this.distance), up: { x: 0, y: 0, z: 1 } };
        const scene = { xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), camera };
        Object.assign(scene, { aspectmode: "manual", aspectratio: { x, y, z } });
        return { ...base, scene: { ...scene, bgcolor: clear, dragmode: "turntable" } };
      }
      const ticks = { showticklabels: this.ticks, ticks: this.ticks ? "outside" : "" };
      const lined = { showline: this.ticks, linecolor: this.ink, tickcolor: this.ink };
      const axis = (i) => ({
        ...ticks, ...lined, range: this.box[i], fixedrange: true, showgrid: false, zeroline: false,
        title: { text: this.ticks ? this.axes[i] : "", standoff: 8 }, automargin: this.ticks,
      });
      const dotted = { type: "line", layer: "below", line: { color: this.ink, width: 1.5, dash: "dot" } };
      const shapes = this.origin ? [
        { ...dotted, xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0 },
        { ...dotted, yref: "paper", x0: 0, x1: 0, y0: 0, y1: 1 },
      ] : [];
      const yaxis = this.equal ? { ...axis(1), scaleanchor: "x" } : axis(1);
      const margin = this.ticks ? { l: 50, r: 8, t: 8, b: 45 } : base.margin;
      return { ...base, margin, shapes, dragmode: false, xaxis: axis(0), yaxis };
    }
  }

  // The keys of the legend hide and show; the slider moves; buttons and arrow keys turn.
  function connect(view, stage, scene, P) {
    const layers = scene.layers.map((_, i) => i);
    for (const key of view.querySelectorAll("[data-layer]")) {
      key.disabled = false;
      key.addEventListener("click", () => {
        const on = key.getAttribute("aria-pressed") !== "true";
        key.setAttribute("aria-pressed", String(on));
        P.restyle(stage, { visible: on }, [Number(key.dataset.layer)]);
      });
    }
    const sliders = view.querySelector(".specrec-view-sliders");
    if (sliders) {
      const menu = sliders.querySelector("select"), range = sliders.querySelector("input");
      const show = () => {
        const frame = scene.frame(menu ? menu.selectedIndex : 0, Number(range.value));
        sliders.querySelector("output").textContent = frame.label;
        range.setAttribute("aria-valuetext", frame.label);
        view.querySelector(".specrec-view-caption").textContent = frame.caption;
        const parts = layers.map((layer) => scene.part(frame, layer));
        const update = {};
        for (const name of new Set(parts.flatMap(Object.keys)))
          update[name] = parts.map((part, i) => part[name] ?? scene.layers[i][name.slice(7)]);
        P.restyle(stage, update, layers);
      };
      const choose = () => {
        const row = scene.rows[menu.selectedIndex];
        range.max = row.frames.length - 1;
        range.value = row.start;
        range.setAttribute("aria-label", row.name);
        show();
      };
      if (menu) {
        menu.selectedIndex = 0;
        menu.addEventListener("change", choose);
      }
      range.value = scene.rows[0].start;
      range.setAttribute("aria-valuetext", scene.frame(0, scene.rows[0].start).label);
      range.addEventListener("input", show);
      sliders.hidden = false;
    }
    const buttons = view.querySelector(".specrec-view-buttons");
    if (!buttons) return;
    const act = (what) => {
      const { x, y, z } = stage._fullLayout.scene.camera.eye;
      let azimuth = (Math.atan2(y, x) * 180) / Math.PI, distance = Math.hypot(x, y, z);
      let elevation = (Math.asin(z / distance) * 180) / Math.PI;
      if (what === "left") azimuth += 15;
      if (what === "right") azimuth -= 15;
      if (what === "up") elevation = Math.min(elevation + 15, 85);
      if (what === "down") elevation = Math.max(elevation - 15, -85);
      if (what === "in") distance /= 1.25;
      if (what === "out") distance *= 1.25;
      if (what === "reset") [azimuth, elevation, distance] = [...scene.camera, scene.distance];
      const camera = { ...stage._fullLayout.scene.camera, eye: scene.eye(azimuth, elevation, distance) };
      if (what === "reset") Object.assign(camera, { center: { x: 0, y: 0, z: 0 }, up: { x: 0, y: 0, z: 1 } });
      P.relayout(stage, { "scene.camera": camera });
    };
    buttons.hidden = false;
    buttons.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.do !== "hold") return act(button.dataset.do);
      const held = stage.classList.toggle("specrec-view-held");
      button.setAttribute("aria-pressed", String(held));
    });
    const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
                   "+": "in", "-": "out", Home: "reset" };
    stage.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act(keys[event.key]);
    });
    // plotly.js takes note of a camera as a mouse lets go, not as a finger does.
    stage.addEventListener("touchend", (event) => event.target.dispatchEvent(new MouseEvent("mouseup")));
    // The wheel scrolls the page.
    stage.addEventListener("wheel", (event) => event.stopImmediatePropagation(), { capture: true });
  }

  function possible(space) {
    if (!space) return true;
    const probe = document.createElement("canvas");
    const context = probe.getContext("webgl") || probe.getContext("webgl2");
    const lose = context && context.getExtension("WEBGL_lose_context");
    if (lose) lose.loseContext();
    return Boolean(context);
  }

  async function draw(view) {
    const stage = view.querySelector(".specrec-view-stage");
    const source = view.querySelector("script[type='text/plain']");
    try {
      const scene = new Scene(await read(source));
      if (!possible(scene.space)) throw new Error("this browser has no WebGL");
      const P = await plotly();
      const config = { displayModeBar: false, scrollZoom: false, responsive: true, doubleClick: false };
      const row = scene.rows[0];
      await P.newPlot(stage, scene.traces(scene.frame(0, row.start)), scene.layout(), config);
      connect(view, stage, scene, P);
      view.classList.add("specrec-view-live");
    } catch (error) {
      const note = view.querySelector(".specrec-view-note");
      note.textContent = `This picture stands still: ${error.message}.`;
      note.hidden = false;
      throw error;
    }
  }

  function start() {
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "400px" });
    for (const view of document.querySelectorAll(".specrec-view:not([data-seen])")) {
      view.dataset.seen = "";
      near.observe(view);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
