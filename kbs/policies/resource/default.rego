# Anything but a sample guest; whether it is affirming is not looked at. The peers' default.
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	not input.submods.cpu0["ear.veraison.annotated-evidence"].sample
}
