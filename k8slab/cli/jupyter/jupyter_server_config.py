"""What a server has whatever the learner's own configuration says.

Jupyter reads this file by its name and gives it `get_config`. JUPYTER_CONFIG_PATH leads here, and
what is read there stands above ~/.jupyter (docs.jupyter.org, Jupyter paths).
"""

import os

from k8slab.cli.saving import leave_forms_out

c = get_config()  # type: ignore[name-defined]  # noqa: F821

# By the environment, which nobody else can read. An own `token = ""` would let everybody in, and
# that of the class in use stands above that of its parents.
if token := os.environ.get("JUPYTER_TOKEN"):
    c.IdentityProvider.token = token
    c.PasswordIdentityProvider.token = token
    c.LegacyIdentityProvider.token = token

c.LabApp.default_url = "/lab"  # what `k8slab lab -- --LabApp.default_url=...` stands above
c.ContentsManager.pre_save_hook = leave_forms_out
