# The machinery of the parity check: codec, client, transcripts, runner, reference broker.
