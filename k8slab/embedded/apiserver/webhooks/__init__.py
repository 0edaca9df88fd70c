"""Admission webhooks: programs in pods that may change or refuse what is written.

A write is one synchronous transaction (`api`), and a webhook is asked over the network. So a write
that webhooks have to see is *tried* until nothing is left to ask:

1. The write runs until it comes to a question to which it knows no answer. Nothing is stored yet;
   it raises `ReviewPendingError`.
2. Whoever called it (the HTTP server for a client, `Loop` for a controller) awaits the answer,
   which is kept in the request's `Ledger`, and runs the write again from the start.
3. This time the question is answered, and the write goes on: to the next question, to a refusal,
   or to the end, where the object is stored.

Between the last answer and the commit nothing else can happen, and what changed in the meantime is
seen by the run that commits: if the object is another one by now, so is the question. A write that
nobody wants to see costs one look into an empty table.

`gate` is what every write passes, `configured` is who wants to see what, `matching` decides it for
one object, `reviews` writes and reads AdmissionReviews, `calling` is the HTTPS call, `asking` puts
a question to all webhooks that it concerns, `ledger` keeps the answers. Source: apiserver
``pkg/admission/plugin/webhook``.
"""
