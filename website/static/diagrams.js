// Draws the mermaid diagrams of a page, with the copy of mermaid that lies beside this file: no network is needed.
// Without JavaScript a diagram stays what it is in the Markdown file, a text.
(() => {
  const library = new URL("mermaid/mermaid.tiny.js", document.currentScript.src).href;

  const draw = (texts) => {
    const diagrams = [...texts].map((text) => {
      const diagram = document.createElement("pre");
      diagram.className = "mermaid";
      diagram.textContent = text.textContent;
      text.replaceWith(diagram);
      return diagram;
    });
    mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: "neutral" });
    mermaid.run({ nodes: diagrams });
  };

  document.addEventListener("DOMContentLoaded", () => {
    const texts = document.querySelectorAll(".highlight-mermaid");
    if (texts.length === 0) return;
    const script = document.createElement("script");
    script.src = library;
    script.onload = () => draw(texts);
    document.head.append(script);
  });
})();
