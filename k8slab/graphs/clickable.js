// Makes the nodes and edges of a policy graph into buttons that show their reasons.
// The answers stand beside the picture as JSON; nothing is fetched, nothing is sent.
(() => {
  for (const root of document.querySelectorAll('@ROOT@:not([data-ready])')) {
    root.setAttribute("data-ready", "");
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const said = root.querySelector("output");
    const [from, to] = root.querySelectorAll("select");
    const svg = root.querySelector("svg");
    svg.setAttribute("role", "group"); // what is in an image is hidden from screen readers
    root.querySelector(".k8slab-hint").hidden = false;
    root.querySelector(".k8slab-choice").hidden = false;

    const buttons = new Map();
    const press = (id) => {
      for (const [name, button] of buttons) {
        button.setAttribute("aria-pressed", String(name === id));
      }
    };
    const choose = (pair) => {
      const [source, destination] = pair.split(" ");
      if (from) {
        from.value = source;
        to.value = destination;
      }
    };
    const showPair = (pair) => {
      const number = data.pairs[pair];
      said.textContent = number === undefined ? "Policies do not decide about this pair." : data.texts[number];
    };
    const show = (id) => {
      press(id);
      if (id in data.edges) {
        choose(data.edges[id]);
        showPair(data.edges[id]);
      } else {
        said.textContent = data.nodes[id];
      }
    };
    const edgeOf = (pair) => Object.keys(data.edges).find((id) => data.edges[id] === pair);

    for (const group of svg.querySelectorAll("g.node, g.edge")) {
      const id = group.id.slice(group.id.indexOf("-") + 1);
      const answer = id in data.edges ? data.texts[data.pairs[data.edges[id]]] : data.nodes[id];
      if (answer === undefined) continue;
      buttons.set(id, group);
      const name = answer.split("\n")[0];
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", name);
      const title = group.querySelector("title");
      if (title) title.textContent = name;
      const line = id in data.edges && group.querySelector("path");
      if (line) { // an edge is a pixel wide: this one can be hit
        const wide = line.cloneNode();
        wide.setAttribute("class", "wide");
        wide.setAttribute("stroke", "transparent");
        wide.setAttribute("stroke-width", "14");
        wide.setAttribute("pointer-events", "stroke");
        group.append(wide);
      }
      group.addEventListener("click", () => show(id));
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation(); // a notebook has keys of its own
        show(id);
      });
    }
    const chosen = () => {
      if (!from.value || !to.value) return;
      const pair = `${from.value} ${to.value}`;
      press(edgeOf(pair));
      showPair(pair);
    };
    if (from) {
      for (const box of [from, to]) {
        box.addEventListener("change", chosen);
        box.addEventListener("keydown", (event) => event.stopPropagation());
      }
    }
  }
})();
