// Opens a notebook at the cell that the page's address names: /lab/tree/FILE#cell-id=ID.
// JupyterLab knows this ending of an address for links within an open page, and drops it when it
// loads. This is all that it wants of an extension that needs no other package: a container, as
// a bundler would write it, with one module, whose default is the list of its plugins. Browsers
// keep the file, so its name has the first digits of its SHA-256, as bundlers do it too.
(function () {
  const wanted = window.location.hash;

  function activate(app) {
    if (!wanted.startsWith('#cell-id=')) {
      return;
    }
    const id = wanted.slice('#cell-id='.length);
    const path = decodeURIComponent(window.location.pathname.split('/tree/')[1] || '');

    function show() {
      const panel = app.shell.currentWidget;
      if (!panel || !panel.context || panel.context.path !== path) {
        return; // something else is opened first: the launcher, tabs of last time
      }
      app.shell.currentChanged.disconnect(show);
      panel.context.ready.then(() => panel.revealed).then(() => {
        const notebook = panel.content;
        const index = notebook.widgets.findIndex(cell => cell.model.id === id);
        if (index >= 0) {
          notebook.activeCellIndex = index;
          notebook.scrollToItem(index, 'start');
        }
      });
    }

    app.shell.currentChanged.connect(show);
    show();
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['k8slab-resume'] = {
    init: () => undefined,
    get: () =>
      Promise.resolve(() => ({
        __esModule: true,
        default: [{ id: 'k8slab-resume:plugin', autoStart: true, activate }]
      }))
  };
})();
