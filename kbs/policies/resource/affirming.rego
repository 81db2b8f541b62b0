# Every part of the machine is affirming, and there is at least one.
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	count(input.submods) > 0
	every part in input.submods {
		part["ear.status"] == "affirming"
	}
}
