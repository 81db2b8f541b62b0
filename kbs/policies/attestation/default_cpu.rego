# What evidence of a CPU says about the guest, against the reference values of the store. Claims are
# numbers of the EAR trust vector: 2 and 3 are affirming, 32 to 95 warn, from 96 on contraindicated.
package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"instance-identity": 0,
	"file-system": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

# One of the stored values.
listed(value, id) if value in query_reference_value(id)

# The stored value itself.
exactly(value, id) if value == query_reference_value(id)

# ---- sample: no hardware, for trying things out ----

executables := 3 if listed(input.sample.launch_digest, "launch_digest")

hardware := 2 if {
	listed(input.sample.svn, "svn")
	exactly(input.sample.platform_version.major, "major_version")
	input.sample.platform_version.minor >= query_reference_value("minimum_minor_version")
}

configuration := 2 if input.sample.debug == false

# ---- SEV-SNP ----

executables := 3 if listed(input.snp.measurement, "snp_launch_measurement")

hardware := 2 if {
	listed(input.snp.reported_tcb_bootloader, "snp_bootloader")
	listed(input.snp.reported_tcb_microcode, "snp_microcode")
	listed(input.snp.reported_tcb_snp, "snp_snp_svn")
	listed(input.snp.reported_tcb_tee, "snp_tee_svn")
}

snp_is_closed if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
}

configuration := 2 if {
	snp_is_closed
	exactly(input.snp.platform_smt_enabled, "snp_smt_enabled")
	exactly(input.snp.platform_tsme_enabled, "snp_tsme_enabled")
	exactly(input.snp.policy_abi_major, "snp_guest_abi_major")
	exactly(input.snp.policy_abi_minor, "snp_guest_abi_minor")
	exactly(input.snp.policy_single_socket, "snp_single_socket")
	exactly(input.snp.policy_smt_allowed, "snp_smt_allowed")
} else := 3 if snp_is_closed

# ---- TDX ----

tdx_registers_ok if {
	listed(input.tdx.quote.body.rtmr_1, "rtmr_1")
	listed(input.tdx.quote.body.rtmr_2, "rtmr_2")
}

tdx_kernel_ok if {
	some event in input.tdx.uefi_event_logs
	event.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION"
	"File(kernel)" in event.details.device_paths
	some one in event.digests
	exactly(one.digest, "tdvfkernel")
}

tdx_options_ok if {
	some event in input.tdx.uefi_event_logs
	event.type_name == "EV_EVENT_TAG"
	event.details.string == "LOADED_IMAGE::LoadOptions"
	some one in event.digests
	exactly(one.digest, "tdvfkernelparams")
}

executables := 3 if {
	tdx_registers_ok
	tdx_kernel_ok
	tdx_options_ok
} else := 4 if tdx_registers_ok

intel_ok(claims) if {
	claims.quote.header.tee_type == "81000000"
	claims.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	listed(claims.quote.body.mr_td, "mr_td")
	claims.tcb_status == "UpToDate"
}

hardware := 2 if {
	intel_ok(input.tdx)
	input.tdx.collateral_expiration_status == "0"
}

configuration := 2 if {
	input.tdx.td_attributes.debug == false
	listed(input.tdx.quote.body.xfam, "xfam")
}

# ---- vTPMs of Azure, on SNP and on TDX ----

executables := 3 if {
	listed(input["az-snp-vtpm"].measurement, "measurement")
	listed(input["az-snp-vtpm"].tpm.pcr11, "snp_pcr11")
}

hardware := 2 if {
	listed(input["az-snp-vtpm"].reported_tcb_bootloader, "tcb_bootloader")
	listed(input["az-snp-vtpm"].reported_tcb_microcode, "tcb_microcode")
	listed(input["az-snp-vtpm"].reported_tcb_snp, "tcb_snp")
	listed(input["az-snp-vtpm"].reported_tcb_tee, "tcb_tee")
}

configuration := 2 if {
	listed(input["az-snp-vtpm"].platform_smt_enabled, "smt_enabled")
	listed(input["az-snp-vtpm"].platform_tsme_enabled, "tsme_enabled")
	listed(input["az-snp-vtpm"].policy_abi_major, "abi_major")
	listed(input["az-snp-vtpm"].policy_abi_minor, "abi_minor")
	listed(input["az-snp-vtpm"].policy_single_socket, "single_socket")
	listed(input["az-snp-vtpm"].policy_smt_allowed, "smt_allowed")
}

executables := 3 if listed(input["az-tdx-vtpm"].tpm.pcr11, "tdx_pcr11")

hardware := 2 if intel_ok(input["az-tdx-vtpm"])

configuration := 2 if listed(input["az-tdx-vtpm"].quote.body.xfam, "xfam")

# ---- a TPM alone; that its key is in one is checked before, see kbs/README.md ----

hardware := 2 if input.tpm

executables := 3 if {
	listed(input.tpm.pcr11, "tpm_pcr11")
	listed(input.tpm.ak_public, "trusted_aks")
} else := 3 if {
	input.tpm.ak_bound == true
	listed(input.tpm.pcr00, "tpm_pcr00")
	listed(input.tpm.pcr02, "tpm_pcr02")
	listed(input.tpm.pcr04, "tpm_pcr04")
	listed(input.tpm.pcr09, "tpm_pcr09")
}

configuration := 2 if {
	input.tpm.ak_bound == true
	input.tpm.cmdline
} else := 0 if input.tpm

# ---- IBM Secure Execution: its verifier has looked at everything ----

executables := 3 if input.se

hardware := 2 if input.se

configuration := 2 if input.se

# ---- what runs in the guest, of its measured initdata ----

containers := input.init_data_claims.agent_policy_claims.containers

images := [image | image := containers[_].OCI.Annotations["io.kubernetes.cri.image-name"]]

uids := [uid | uid := containers[_].OCI.Process.User.UID]

validated["container_images"] := images if count(images) > 0

validated["container_uids"] := uids if count(uids) > 0

extensions := [{
	"name": "ear.trustee.identifiers",
	"key": -18,
	"value": {"validated": validated},
}]
