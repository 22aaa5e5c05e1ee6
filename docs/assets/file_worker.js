// Browsers start no workers for pages from the file system, and search runs in one: there a hidden frame does its work.
(() => {
  if (location.protocol !== "file:") return;

  const load = (page, url) =>
    new Promise((done, failed) => {
      const script = page.document.createElement("script");
      script.src = url;
      script.onload = done;
      script.onerror = failed;
      page.document.body.appendChild(script);
    });

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      inside.document.open();
      inside.document.write("<!doctype html><html><body></body></html>");
      inside.document.close();
      // what the script posts is meant for this page
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.importScripts = (...urls) =>
        urls.reduce((before, next) => before.then(() => load(inside, next)), Promise.resolve());
      this.ready = load(inside, new URL(url, location.href).href);
    }

    postMessage(data) {
      this.ready.then(() => {
        const inside = this.frame.contentWindow;
        const event = new inside.MessageEvent("message", { data });
        inside.dispatchEvent(event);
        if (inside.onmessage) inside.onmessage(event);
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
})();
