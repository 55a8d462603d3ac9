# The parity check's parts: codec, client, transcripts, runner, reference broker.
