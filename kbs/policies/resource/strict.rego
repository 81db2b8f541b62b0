# Every part of the machine is affirming, and none of them is a sample without hardware.
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	count(input.submods) > 0
	every part in input.submods {
		part["ear.status"] == "affirming"
		not part["ear.veraison.annotated-evidence"].sample
	}
}
