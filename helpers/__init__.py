"""The long parts of the course, so that the notebooks stay short.

Importing a module downloads, seeds and prints nothing. (On Linux, memory that is freed stays with the process from then
on: ``machine.keep_memory``.)

**To read**, in this order, each up to where the details begin (lines to there, lines in all):

- ``arithmetic``, up to ``WHOLE`` (167, 328): sizes, parameters, multiply-adds, receptive fields;
- ``datasets`` (248): image sets, and how they are split;
- ``backbones`` (332): pretrained networks with named stages; freezing, and a learning rate for each stage;
- ``codes``, up to ``_runner`` (212, 304): the features of an image set, computed once;
- ``linear``, up to ``_choose`` (88, 186): the classifier on codes;
- ``training``, up to ``_Stepper`` (283, 485): the training loop, and what is measured;
- ``transfer``, up to ``compare`` (273, 398): from scratch, codes and fine-tuning, compared.

**With one lesson**: ``visualise`` (2), ``probes`` and ``live`` (3), ``augmentation``, ``learnable`` and
``strengths`` (4), ``handmade`` (5), ``tuning`` (6), ``embedding`` (7), ``layers`` and ``detector`` (8), ``lab`` (9).

**Plumbing**, which works unread: ``machine`` (device, folders, seeds), ``parallel`` (several processes), ``depthwise``
and ``replay`` (quicker steps), ``weights`` (of the backbones); ``sources``, ``download``, ``folders`` and ``pictures``
(from an address or a folder to pixels); ``plots``; ``explorers`` with the folder ``pages``, and ``predictor``;
``checks`` (what an exercise says); ``colab``.
"""
