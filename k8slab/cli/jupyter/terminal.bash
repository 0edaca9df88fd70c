# What a terminal of JupyterLab begins with, after the learner's own settings: the cluster that
# the notebooks use, our programs first, and completion of kubectl and k8slab.

_k8slab_kubeconfig=$KUBECONFIG _k8slab_cluster=$K8SLAB_CLUSTER _k8slab_programs=${PATH%%:*}
for _k8slab_file in /etc/bash.bashrc ~/.bashrc /usr/share/bash-completion/bash_completion; do
    [ ! -r "$_k8slab_file" ] || . "$_k8slab_file"
done
export KUBECONFIG=$_k8slab_kubeconfig K8SLAB_CLUSTER=$_k8slab_cluster
[ "${PATH%%:*}" = "$_k8slab_programs" ] || PATH=$_k8slab_programs:$PATH
unset _k8slab_kubeconfig _k8slab_cluster _k8slab_programs _k8slab_file

# JupyterLab says which directory; whoever asks for a terminal without one gets the labs.
case $PWD/ in "$JUPYTER_SERVER_ROOT"/*) ;; *) cd "$JUPYTER_SERVER_ROOT" || : ;; esac

# The completion of kubectl asks these two functions of the package bash-completion for the words
# of the line. Where that is not installed words end at spaces alone, so nothing is to be joined.
if ! declare -F _get_comp_words_by_ref >/dev/null; then
    COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]/}
    _get_comp_words_by_ref() {
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
        cur=${words[cword]} prev=${words[cword - 1]}
    }
    __ltrim_colon_completions() { :; }
fi
! command -v kubectl >/dev/null || . <(kubectl completion bash 2>/dev/null)
. <(k8slab completion bash)
