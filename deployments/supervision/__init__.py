"""`headrace serve`: server, worker, inbox and upload service as one supervised tree of processes on one machine."""
