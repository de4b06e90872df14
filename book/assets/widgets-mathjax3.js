// Widgets hand their labels to MathJax 2's queue. The page has MathJax 3, which has no queue and needs none here.
window.addEventListener("load", () => {
  window.MathJax = window.MathJax || {};
  window.MathJax.Hub = window.MathJax.Hub || { Queue() {}, Config() {} };
});
