// Shows the drawing that the controls of an explorer name. It stands behind each explorer, so that a notebook needs
// nothing else.
(function (root) {
  const form = root.querySelector("form");
  const controls = [...form.querySelectorAll(".gradclinic-control")];
  let data; // read when it is first needed: a page has many drawings, and a reader moves few
  const chosen = (control) => Number(control.querySelector("input[type=range], input:checked").value);
  const show = () => {
    data = data || JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const index = controls.reduce((sum, control, i) => sum * data.sizes[i] + chosen(control), 0);
    const frame = root.querySelector(".gradclinic-frame");
    frame.innerHTML = data.frames[index].map((part) => data.parts[part]).join("");
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
