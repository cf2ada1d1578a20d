variable "name" {
  description = "Name of the cluster and prefix of what belongs to it."
  type        = string
  default     = "hallmark"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name))
    error_message = "name: 3 to 22 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  description = "AWS region of everything here."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: such as eu-central-1."
  }
}

variable "zones" {
  description = "Availability zones of the region, two or three, by name."
  type        = list(string)

  validation {
    condition     = alltrue([for z in var.zones : startswith(z, var.region)])
    error_message = "zones: zones of the region, such as eu-central-1a."
  }
}

variable "nat" {
  description = "Way out of the nodes' subnets: zonal, single or none. See modules/network."
  type        = string
  default     = "zonal"

  validation {
    condition     = contains(["zonal", "single", "none"], var.nat)
    error_message = "nat: zonal, single or none."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version, MAJOR.MINOR, that both EKS and the Kyverno of charts.kyverno support."
  type        = string

  validation {
    condition     = can(regex("^1\\.[3-9][0-9]$", var.kubernetes_version))
    error_message = "kubernetes_version: MAJOR.MINOR, such as 1.35."
  }
}

variable "administrators" {
  description = "IAM roles that may do everything in the cluster, a name for each ARN. The role that runs Terraform must be among them."
  type        = map(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators: at least one, or nobody gets in."
  }
}

variable "unsafe_public_api_cidrs" {
  description = "UNSAFE unless you mean it: address ranges that reach the API server over the internet."
  type        = list(string)
  default     = []

  validation {
    condition     = !contains(var.unsafe_public_api_cidrs, "0.0.0.0/0")
    error_message = "unsafe_public_api_cidrs: the whole internet is refused."
  }
}

variable "unsafe_allow_deletion" {
  description = "UNSAFE in production: lets the cluster be deleted. For a trial that will be taken down."
  type        = bool
  default     = false
}

variable "apps" {
  description = <<-T
    What is released and deployed: a name for each repository on GitHub, with its image's repository in ECR. namespaces are
    those in the cluster that it is deployed to.
  T
  type = map(object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    ref           = optional(string)
    environment   = optional(string)
    workflow      = string
    image         = string
    namespaces    = set(string)
  }))

  validation {
    condition     = length(var.apps) > 0
    error_message = "apps: at least one."
  }
  validation {
    condition     = length(distinct([for a in values(var.apps) : a.image])) == length(var.apps)
    error_message = "apps: two of them push to one repository. Each gets its own, or one could release as the other."
  }
  validation {
    condition     = alltrue(flatten([for a in values(var.apps) : [for n in a.namespaces : !startswith(n, "kube-") && !contains(["default", "kyverno", "hallmark", "monitoring"], n)]]))
    error_message = "apps: namespaces of its own, not those of Kubernetes or of what this root installs."
  }
}

variable "replica_regions" {
  description = "Other regions that get a copy of each image with its evidence."
  type        = set(string)
  default     = []

  validation {
    condition     = !contains(var.replica_regions, var.region)
    error_message = "replica_regions: other regions than region."
  }
}

variable "keep_days" {
  description = "Days after its push from which an image that has never run may be expired."
  type        = number
  default     = 90

  validation {
    condition     = var.keep_days >= 30
    error_message = "keep_days: 30 or more."
  }
}

variable "charts" {
  description = <<-T
    The charts, as archives beside this root with their version and SHA-256. `charts.sh` fetches the three that are in
    registries by version and digest and writes this variable; the archives belong in version control or a store of yours.
  T
  type = object({
    kyverno               = object({ archive = string, version = string, sha256 = string })
    kube_prometheus_stack = object({ archive = string, version = string, sha256 = string })
    hallmark              = object({ archive = string, version = string, sha256 = string })
  })

  validation {
    condition     = alltrue([for c in values(var.charts) : can(regex("^[0-9a-f]{64}$", c.sha256)) && can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", c.version))])
    error_message = "charts: sha256 is 64 hexadecimal digits, version an exact one such as 3.9.0."
  }
}

variable "policies" {
  description = "The file of admission policies that hallmark rendered from hallmark.yaml."
  type        = string

  validation {
    condition     = fileexists(var.policies) && try(length(regexall("(?m)^kind: ImageValidatingPolicy$", file(var.policies))) > 0, false)
    error_message = "policies: a file as hallmark renders it, with at least one ImageValidatingPolicy. Without one nothing is verified."
  }
}

variable "values" {
  description = "Further Helm values for each chart, as YAML, laid over those of this root. Not for secrets: they would stand in the state."
  type = object({
    kyverno               = optional(list(string), [])
    kube_prometheus_stack = optional(list(string), [])
    hallmark              = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = alltrue([for v in flatten(values(var.values)) : can(yamldecode(v))])
    error_message = "values: YAML documents."
  }
  validation {
    condition     = !anytrue([for v in flatten(values(var.values)) : can(regex("(?i)(adminPassword|password|secretKey|token)\\s*:\\s*[\"']?[^\\s\"'{\\[]", v))])
    error_message = "values: that looks like a secret, and it would stand in the state. Make a Secret in the cluster and name it."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}
