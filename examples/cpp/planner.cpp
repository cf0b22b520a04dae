// A grasp planner's side in C++: takes the best grasp of every object. It needs this package's messages only.

#include <instance_seg_ros/msg/instance_array.hpp>
#include <rclcpp/rclcpp.hpp>

#include <memory>

using instance_seg_ros::msg::InstanceArray;

class Planner : public rclcpp::Node
{
public:
  Planner()
  : Node("planner")
  {
    // Depth 1: a planner wants the newest scene, not every scene.
    subscription_ = create_subscription<InstanceArray>(
      "/instance_seg/instances", 1, [this](const InstanceArray & scene) {plan(scene);});
  }

private:
  // Called once for each processed frame, also when nothing was found or the frame could not be used.
  void plan(const InstanceArray & scene)
  {
    if (scene.status != InstanceArray::STATUS_OK) {
      RCLCPP_WARN(get_logger(), "frame not used: %s", scene.status_text.c_str());
      return;
    }
    for (const auto & instance : scene.instances) {  // the highest score first
      if (instance.grasps.empty()) {  // a valid result, with its reason
        RCLCPP_INFO(
          get_logger(), "#%u %s: no grasp: %s", instance.track_id, instance.class_name.c_str(),
          instance.status_text.c_str());
        continue;
      }
      const auto & grasp = instance.grasps.front();  // the best first
      // All poses are in scene.header.frame_id, the camera's optical frame, at the time scene.header.stamp: transform
      // them with tf2. Of the grasp, +z approaches and +x closes; start approach_distance_m back along z, the fingers
      // opened to opening_m.
      const auto & position = grasp.pose.position;
      RCLCPP_INFO(
        get_logger(), "#%u %s, seen in %u frames: grasp at (%.3f, %.3f, %.3f) m in %s, opening %.1f cm, quality %.2f",
        instance.track_id, instance.class_name.c_str(), instance.sightings, position.x, position.y, position.z,
        scene.header.frame_id.c_str(), grasp.opening_m * 100.0, grasp.quality);
    }
  }

  rclcpp::Subscription<InstanceArray>::SharedPtr subscription_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<Planner>());
  rclcpp::shutdown();
  return 0;
}
