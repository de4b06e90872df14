// Shows the drawing that the controls of an explorer name. It stands behind each explorer, so that a notebook needs
// nothing else.
(function (root) {
  const form = root.querySelector("form");
  const controls = [...form.querySelectorAll(".gradclinic-control")];
  let data; // read when it is first needed: a page has many drawings, and a reader moves few
  // Make one drawing into another, and leave alone what they have in common: to lay out letters takes longest.
  const renew = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    const [parts, others] = [[...old.childNodes], [...fresh.childNodes]];
    if (old.nodeName !== fresh.nodeName || parts.length !== others.length || !old.attributes || !parts.length) {
      old.replaceWith(fresh);
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    parts.forEach((part, i) => renew(part, others[i]));
  };
  const chosen = (control) => Number(control.querySelector("input[type=range], input:checked").value);
  const show = () => {
    data = data || JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const index = controls.reduce((sum, control, i) => sum * data.sizes[i] + chosen(control), 0);
    const frame = root.querySelector(".gradclinic-frame");
    const fresh = document.createElement("template");
    fresh.innerHTML = data.frames[index].map((part) => data.parts[part]).join("");
    renew(frame.firstElementChild, fresh.content.firstElementChild);
    const texts = [...frame.querySelectorAll("svg")].map((svg) => svg.getAttribute("aria-label"));
    root.querySelector(".gradclinic-said").textContent = texts.join(" ");
  };
  let planned = false;
  form.addEventListener("input", (event) => {
    const control = event.target.closest("[data-labels]");
    if (control) {
      const label = JSON.parse(control.dataset.labels)[chosen(control)];
      control.querySelector("output").textContent = label;
      event.target.setAttribute("aria-valuetext", label);
    }
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      show();
    });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
})(document.currentScript.parentElement);
