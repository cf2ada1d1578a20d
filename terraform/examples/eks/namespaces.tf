# The namespaces of the apps: no pod may be more than restricted, and none is reached or reaches out unless a policy of the
# app says so.

locals {
  namespaces = toset(flatten([for a in values(var.apps) : tolist(a.namespaces)]))

  restricted = {
    "pod-security.kubernetes.io/enforce" = "restricted"
    "pod-security.kubernetes.io/warn"    = "restricted"
    "pod-security.kubernetes.io/audit"   = "restricted"
  }
}

resource "kubernetes_namespace_v1" "app" {
  for_each = local.namespaces

  metadata {
    name   = each.value
    labels = local.restricted
  }

  depends_on = [module.cluster]
}

resource "kubernetes_namespace_v1" "system" {
  for_each = {
    kyverno  = "restricted"
    hallmark = "restricted"
    # The node exporter reads the host's /proc and /sys, which only privileged allows.
    monitoring = "privileged"
  }

  metadata {
    name = each.key
    labels = {
      "pod-security.kubernetes.io/enforce" = each.value
      "pod-security.kubernetes.io/warn"    = "restricted"
      "pod-security.kubernetes.io/audit"   = "restricted"
    }
  }

  depends_on = [module.cluster]
}

resource "kubernetes_network_policy_v1" "nothing" {
  for_each = kubernetes_namespace_v1.app

  metadata {
    name      = "nothing-unless-allowed"
    namespace = each.value.metadata[0].name
  }
  spec {
    pod_selector {}
    policy_types = ["Ingress", "Egress"]
  }
}

resource "kubernetes_network_policy_v1" "dns" {
  for_each = kubernetes_namespace_v1.app

  metadata {
    name      = "names-may-be-asked"
    namespace = each.value.metadata[0].name
  }
  spec {
    pod_selector {}
    policy_types = ["Egress"]
    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = "kube-system" }
        }
        pod_selector {
          match_labels = { "k8s-app" = "kube-dns" }
        }
      }
      ports {
        port     = "53"
        protocol = "UDP"
      }
      ports {
        port     = "53"
        protocol = "TCP"
      }
    }
  }
}
