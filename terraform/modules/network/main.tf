# A VPC in which nothing has a public address but the NAT gateways and what a load balancer of yours opens.

locals {
  # A quarter of the range for each zone's pods; the last quarter is cut into small subnets.
  private = [for i, _ in var.zones : cidrsubnet(var.cidr, 2, i)]
  public  = [for i, _ in var.zones : cidrsubnet(cidrsubnet(var.cidr, 2, 3), 3, i)]
  intra   = [for i, _ in var.zones : cidrsubnet(cidrsubnet(var.cidr, 2, 3), 3, i + 4)]
}

module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "6.6.0"

  name = var.name
  cidr = var.cidr
  azs  = var.zones

  private_subnets = local.private
  public_subnets  = local.public
  # The control plane's interfaces: no way out at all.
  intra_subnets = local.intra

  enable_nat_gateway     = var.nat != "none"
  single_nat_gateway     = var.nat == "single"
  one_nat_gateway_per_az = var.nat == "zonal"

  enable_dns_hostnames    = true
  enable_dns_support      = true
  map_public_ip_on_launch = false

  # The default security group lets everything through inside itself; without rules it lets nothing.
  manage_default_security_group  = true
  default_security_group_ingress = []
  default_security_group_egress  = []

  enable_flow_log                                 = true
  create_flow_log_cloudwatch_log_group            = true
  create_flow_log_cloudwatch_iam_role             = true
  flow_log_cloudwatch_log_group_retention_in_days = var.flow_log_days
  flow_log_traffic_type                           = "ALL"
  flow_log_max_aggregation_interval               = 60

  public_subnet_tags  = { "kubernetes.io/role/elb" = "1" }
  private_subnet_tags = { "kubernetes.io/role/internal-elb" = "1" }

  tags = var.tags
}

module "endpoints" {
  source  = "terraform-aws-modules/vpc/aws//modules/vpc-endpoints"
  version = "6.6.0"

  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.private_subnets

  create_security_group      = true
  security_group_name        = "${var.name}-endpoints"
  security_group_description = "HTTPS from the VPC to AWS services"
  security_group_rules = {
    https = {
      description = "HTTPS from the VPC"
      cidr_blocks = [var.cidr]
    }
  }

  endpoints = merge(
    {
      # ECR keeps the layers in S3. A gateway costs nothing.
      s3 = {
        service         = "s3"
        service_type    = "Gateway"
        route_table_ids = concat(module.vpc.private_route_table_ids, module.vpc.intra_route_table_ids)
        tags            = { Name = "${var.name}-s3" }
      }
    },
    {
      for service in var.endpoints : replace(service, ".", "_") => {
        service             = service
        private_dns_enabled = true
        tags                = { Name = "${var.name}-${replace(service, ".", "-")}" }
      }
    },
  )

  tags = var.tags
}

check "one_nat_gateway" {
  assert {
    condition     = var.nat != "single"
    error_message = "WEAKER THAN IT COULD BE: nat is \"single\". When its zone fails, no node can reach Sigstore, and images whose evidence is not cached are refused."
  }
}
