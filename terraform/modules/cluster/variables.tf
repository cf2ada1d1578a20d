variable "name" {
  description = "Name of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name: 3 to 32 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version, MAJOR.MINOR. Only a version in standard support: extended support costs six times as much and gets fewer fixes."
  type        = string

  validation {
    condition     = can(regex("^1\\.[3-9][0-9]$", var.kubernetes_version))
    error_message = "kubernetes_version: MAJOR.MINOR, such as 1.35."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id: the id of a VPC, vpc-…"
  }
}

variable "subnet_ids" {
  description = "Private subnets of the nodes, two or more."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: two or more, in different zones."
  }
}

variable "control_plane_subnet_ids" {
  description = "Subnets of the control plane's interfaces, two or more."
  type        = list(string)

  validation {
    condition     = length(var.control_plane_subnet_ids) >= 2
    error_message = "control_plane_subnet_ids: two or more, in different zones."
  }
}

variable "administrators" {
  description = "IAM roles that may do everything in the cluster, a name for each ARN. Whoever creates the cluster gets no rights by it."
  type        = map(string)

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "administrators: at least one, each the ARN of a role. Users, root and wildcards are not accepted."
  }
}

variable "unsafe_public_api_cidrs" {
  description = "UNSAFE unless you mean it: address ranges that reach the API server over the internet. Empty, the API server has a private address only, and Terraform must run inside the VPC or through a tunnel to install the charts."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for c in var.unsafe_public_api_cidrs : can(cidrhost(c, 0)) && try(tonumber(split("/", c)[1]), 0) >= 16])
    error_message = "unsafe_public_api_cidrs: ranges of /16 or smaller. The whole internet is not one."
  }
}

variable "log_days" {
  description = "Days that the control plane's logs are kept. All five kinds are written: the audit log is the record of who changed a policy."
  type        = number
  default     = 400

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days: one of the retentions CloudWatch knows, 90 days or more."
  }
}

variable "nodes" {
  description = "The node group: instance types (x86-64), fewest, most, and the number to start with; disk of each in GiB."
  type = object({
    instance_types = optional(list(string), ["m6i.large"])
    min            = optional(number, 2)
    max            = optional(number, 6)
    desired        = optional(number, 3)
    disk_gib       = optional(number, 50)
  })
  default = {}

  validation {
    condition     = var.nodes.min >= 2 && var.nodes.min <= var.nodes.desired && var.nodes.desired <= var.nodes.max
    error_message = "nodes: 2 <= min <= desired <= max. With one node, its replacement stops admission."
  }
  validation {
    condition     = length(var.nodes.instance_types) > 0 && var.nodes.disk_gib >= 20
    error_message = "nodes: at least one instance type, and 20 GiB."
  }
}

variable "addon_versions" {
  description = "Versions of the add-ons vpc-cni, eks-pod-identity-agent, kube-proxy and coredns. One left out gets AWS's default for the cluster's version."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.addon_versions), ["vpc-cni", "eks-pod-identity-agent", "kube-proxy", "coredns"])) == 0
    error_message = "addon_versions: only vpc-cni, eks-pod-identity-agent, kube-proxy and coredns."
  }
  validation {
    condition     = alltrue([for v in values(var.addon_versions) : can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+-eksbuild\\.[0-9]+$", v))])
    error_message = "addon_versions: such as v1.20.4-eksbuild.2."
  }
}

variable "unsafe_allow_deletion" {
  description = "UNSAFE in production: lets the cluster be deleted. For a trial that will be taken down."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
