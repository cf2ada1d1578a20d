variable "name" {
  description = "Name of the VPC and prefix of what is in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name: 3 to 32 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "cidr" {
  description = "Address range of the VPC, /16 to /20: a /20 leaves 1,024 addresses for the pods of each of three zones."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.cidr)[1]), 99) <= 20
    error_message = "cidr: an IPv4 range between /16 and /20, such as 10.64.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, two or three, by name. Given rather than looked up, so that a zone AWS adds does not move the subnets."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones: two or three different zones, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "nat" {
  description = "Way out of the private subnets: zonal (a NAT gateway in each zone), single (one for all: cheaper, and gone with its zone), or none (nothing leaves but through the endpoints)."
  type        = string
  default     = "zonal"

  validation {
    condition     = contains(["zonal", "single", "none"], var.nat)
    error_message = "nat: zonal, single or none."
  }
}

variable "endpoints" {
  description = "AWS services reached without leaving the VPC, beside S3. ECR, STS and Pod Identity must be among them where nat is none."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "eks", "eks-auth", "ec2", "logs", "sts"]

  validation {
    condition     = var.nat != "none" || length(setsubtract(["ecr.api", "ecr.dkr", "eks", "eks-auth", "ec2", "sts"], var.endpoints)) == 0
    error_message = "endpoints: without NAT, nodes need ecr.api, ecr.dkr, eks, eks-auth, ec2 and sts."
  }
}

variable "flow_log_days" {
  description = "Days that the VPC's flow log is kept. It is always written."
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_days)
    error_message = "flow_log_days: one of the retentions CloudWatch knows, 30 days or more."
  }
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
}
