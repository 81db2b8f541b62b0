/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pod_net.h"

struct pod_net {
	struct vmm_nic nics[VMM_NICS_MAX];
	size_t nic_count;
	Grpc__Interface *interfaces[VMM_NICS_MAX];
	Grpc__Routes *routes;
	Grpc__ARPNeighbors *neighbors;
	char *netns;
	struct cf_strv links;
};

int pod_net_open(const char *netns, const char *mode, const char *sandbox_id, struct pod_net **ret,
                 struct cf_err *err)
{
	(void)netns;
	(void)sandbox_id;
	(void)ret;
	if (cf_streq(mode, "user") || cf_streq(mode, "none"))
		return 0;
	return cf_fail(err, CF_UNIMPLEMENTED, "network mode \"%s\"", mode);
}

struct pod_net *pod_net_free(struct pod_net *n)
{
	if (!n)
		return NULL;
	free(n->netns);
	cf_strv_fini(&n->links);
	free(n);
	return NULL;
}

const struct vmm_nic *pod_net_nics(const struct pod_net *n, size_t *ret_count)
{
	*ret_count = n ? n->nic_count : 0;
	return n ? n->nics : NULL;
}

Grpc__Interface *const *pod_net_interfaces(const struct pod_net *n, size_t *ret_count)
{
	*ret_count = n ? n->nic_count : 0;
	return n ? n->interfaces : NULL;
}

Grpc__Routes *pod_net_routes(const struct pod_net *n)
{
	return n ? n->routes : NULL;
}

Grpc__ARPNeighbors *pod_net_neighbors(const struct pod_net *n)
{
	return n ? n->neighbors : NULL;
}

void pod_net_links(const struct pod_net *n, struct cf_strv *ret)
{
	for (size_t i = 0; n && i < n->links.count; i++)
		cf_strv_add(ret, n->links.items[i]);
}

void pod_net_remove_link(const char *netns, const char *name)
{
	(void)netns;
	(void)name;
}
