"""What the command line needs beside a sweep: options, cost, evaluation, a service's client."""
