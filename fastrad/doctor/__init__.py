"""Says what this machine has, what it lacks, the command that fixes it, and what a large job would need here.

In: the machine. Out: `examine()` gives findings, `estimate()` a plan of the job. Nothing here needs more than the base
package; what is absent is found out without importing it.
"""

from fastrad.doctor.findings import Finding, examine
from fastrad.doctor.job import Job, Step, estimate
from fastrad.doctor.machine import Machine

__all__ = ["Finding", "Job", "Machine", "Step", "estimate", "examine"]
