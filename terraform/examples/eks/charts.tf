# The charts, from archives whose digest is checked before Helm reads them.
#
# helm_release cannot pin an OCI chart by digest (hashicorp/terraform-provider-helm issue 1596), and a version in a registry
# can be moved. So charts.sh pulls by digest once, and each release below refuses an archive that is another.

locals {
  # What hallmark ships for clusters.
  shipped = "${path.root}/../../../charts"
  archives = { for k, c in var.charts : k => {
    path    = "${path.root}/${c.archive}"
    matches = try(filesha256("${path.root}/${c.archive}") == c.sha256, false)
  } }
}

resource "helm_release" "kyverno" {
  name      = "kyverno"
  namespace = kubernetes_namespace_v1.system["kyverno"].metadata[0].name
  chart     = local.archives.kyverno.path
  version   = var.charts.kyverno.version
  timeout   = 600
  atomic    = true

  # First what the policies need: the size of the cache, and exceptions from Kyverno's own namespace and from no other.
  values = concat([file("${local.shipped}/kyverno-values.yaml"), yamlencode({
    # Spread over zones, so that a lost zone neither stops deployments nor lets anything through.
    admissionController = {
      topologySpreadConstraints = [{ maxSkew = 1, topologyKey = "topology.kubernetes.io/zone", whenUnsatisfiable = "ScheduleAnyway", labelSelector = { matchLabels = { "app.kubernetes.io/component" = "admission-controller" } } }]
      serviceMonitor            = { enabled = true }
    }
    backgroundController = { serviceMonitor = { enabled = true } }
    reportsController    = { serviceMonitor = { enabled = true } }
  })], var.values.kyverno)

  lifecycle {
    precondition {
      condition     = local.archives.kyverno.matches
      error_message = "charts.kyverno: ${var.charts.kyverno.archive} is missing or not the archive with that sha256. Run charts.sh."
    }
  }

  # Its service accounts must have their role before its first pod asks for it, and the CRDs of ServiceMonitor be there.
  depends_on = [module.identity, helm_release.kube_prometheus_stack]
}

resource "helm_release" "kube_prometheus_stack" {
  name      = "kube-prometheus-stack"
  namespace = kubernetes_namespace_v1.system["monitoring"].metadata[0].name
  chart     = local.archives.kube_prometheus_stack.path
  version   = var.charts.kube_prometheus_stack.version
  timeout   = 600
  atomic    = true

  values = concat([yamlencode({
    prometheus = { prometheusSpec = {
      # Monitors of other charts count too.
      serviceMonitorSelectorNilUsesHelmValues = false
      ruleSelectorNilUsesHelmValues           = false
    } }
    # The password of Grafana is a Secret made beside Terraform, so it is not in the state.
    grafana = {
      admin   = { existingSecret = "grafana-admin", userKey = "user", passwordKey = "password" }
      sidecar = { dashboards = { enabled = true, searchNamespace = "ALL" } }
    }
    # AWS runs these; there is nothing to scrape.
    kubeControllerManager = { enabled = false }
    kubeScheduler         = { enabled = false }
    kubeEtcd              = { enabled = false }
  })], var.values.kube_prometheus_stack)

  lifecycle {
    precondition {
      condition     = local.archives.kube_prometheus_stack.matches
      error_message = "charts.kube_prometheus_stack: ${var.charts.kube_prometheus_stack.archive} is missing or not the archive with that sha256. Run charts.sh."
    }
  }
}

resource "helm_release" "policies" {
  name      = "hallmark-policies"
  namespace = kubernetes_namespace_v1.system["kyverno"].metadata[0].name
  chart     = "${local.shipped}/hallmark-policies"
  version   = "0.1.0"
  atomic    = true

  values = [yamlencode({ documents = file(var.policies), sha256 = filesha256(var.policies) })]

  depends_on = [helm_release.kyverno]
}

resource "helm_release" "hallmark" {
  name      = "hallmark"
  namespace = kubernetes_namespace_v1.system["hallmark"].metadata[0].name
  chart     = local.archives.hallmark.path
  version   = var.charts.hallmark.version
  timeout   = 600
  atomic    = true

  values = var.values.hallmark

  lifecycle {
    precondition {
      condition     = local.archives.hallmark.matches
      error_message = "charts.hallmark: ${var.charts.hallmark.archive} is missing or not the archive with that sha256. Run charts.sh."
    }
  }

  # Its own image is verified like any other.
  depends_on = [module.identity, helm_release.policies, helm_release.kube_prometheus_stack]
}
